# beacon_module(NAME SOURCES ... DEPENDS ... LIBS ... [TORCH])
# One folder of src/ as a static library beacon_NAME. DEPENDS names modules of a lower rank, LIBS outside libraries.
function(beacon_module name)
  cmake_parse_arguments(ARG "TORCH" "" "SOURCES;DEPENDS;LIBS" ${ARGN})
  set(target beacon_${name})
  add_library(${target} STATIC ${ARG_SOURCES})
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
  target_compile_definitions(${target} PRIVATE BEACON_BUILDING)
  list(TRANSFORM ARG_DEPENDS PREPEND beacon_)
  target_link_libraries(${target} PRIVATE beacon_flags PUBLIC ${ARG_DEPENDS} ${ARG_LIBS})
  set_property(GLOBAL APPEND PROPERTY BEACON_MODULES ${target})
  set_property(GLOBAL APPEND PROPERTY BEACON_OUTSIDE_LIBS ${ARG_LIBS})
  if(ARG_TORCH)
    set_property(GLOBAL APPEND PROPERTY BEACON_OUTSIDE_LIBS beacon_torch)
    target_link_libraries(${target} PUBLIC beacon_torch)
    target_precompile_headers(${target} REUSE_FROM beacon_pch_torch)
  endif()
endfunction()

# beacon_test(NAME LABEL label SOURCES ... LIBS ... [TORCH])
# One GoogleTest program. The test is called LABEL.NAME and may take ARGS.
function(beacon_test name)
  cmake_parse_arguments(ARG "TORCH" "LABEL" "SOURCES;LIBS;ARGS" ${ARGN})
  set(target test_${name})
  add_executable(${target} ${ARG_SOURCES})
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${target} PRIVATE
    BEACON_TEST_DATA_DIR="${PROJECT_SOURCE_DIR}/tests/data" BEACON_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(${target} PRIVATE beacon_flags ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  if(ARG_TORCH)
    target_link_libraries(${target} PRIVATE beacon_torch)
    target_precompile_headers(${target} REUSE_FROM beacon_pch_test_torch)
  else()
    target_precompile_headers(${target} REUSE_FROM beacon_pch_test)
  endif()
  add_test(NAME ${ARG_LABEL}.${name} COMMAND ${target} ${ARG_ARGS})
  set_tests_properties(${ARG_LABEL}.${name} PROPERTIES
    LABELS ${ARG_LABEL} TIMEOUT 600
    # Tests run side by side: threads that spin while they wait would take each other's cores.
    ENVIRONMENT OMP_WAIT_POLICY=passive)
endfunction()

# beacon_fuzz_target(NAME LIBS ...): fuzz/NAME_fuzz.cc with its seeds in fuzz/corpus/NAME.
# With BEACON_BUILD_FUZZERS it is a libFuzzer program; otherwise a program that runs each file it is given once.
function(beacon_fuzz_target name)
  cmake_parse_arguments(ARG "" "" "LIBS" ${ARGN})
  set(target fuzz_${name})
  set(seeds ${CMAKE_CURRENT_SOURCE_DIR}/corpus/${name})
  if(BEACON_BUILD_FUZZERS)
    add_executable(${target} ${name}_fuzz.cc)
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    # What libFuzzer finds goes into its first folder, which must not be the seeds in the source tree.
    set(grown ${CMAKE_CURRENT_BINARY_DIR}/corpus/${name})
    file(MAKE_DIRECTORY ${grown})
    set(arguments -runs=20000 -max_total_time=20 ${grown} ${seeds})
  else()
    add_executable(${target} ${name}_fuzz.cc run_corpus.cc)
    set(arguments ${seeds})
  endif()
  target_link_libraries(${target} PRIVATE beacon_flags ${ARG_LIBS})
  add_dependencies(beacon_fuzzers ${target})
  if(BEACON_BUILD_TESTS)
    add_test(NAME fuzz-smoke.${name} COMMAND ${target} ${arguments})
    set_tests_properties(fuzz-smoke.${name} PROPERTIES LABELS fuzz-smoke TIMEOUT 300)
  endif()
endfunction()

add_custom_target(beacon_fuzzers)
