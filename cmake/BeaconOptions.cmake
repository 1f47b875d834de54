# Every switch of the build. Consumers get the library alone; developers get tests as well.
option(BEACON_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(BEACON_BUILD_FUZZERS "Build the libFuzzer targets with coverage instrumentation (clang only)" OFF)
option(BEACON_BUILD_BENCH "Build the benchmarks in bench/ if Google Benchmark is found" OFF)
option(BEACON_INSTALL "Make rules to install the library and the program" ${PROJECT_IS_TOP_LEVEL})
option(BEACON_WERROR "Treat warnings as errors" OFF)
set(BEACON_SANITIZE "" CACHE STRING "Sanitizers, as in -fsanitize=: 'address,undefined' or 'thread'")
set(BEACON_TORCH_ROOT "" CACHE PATH "Folder of an installed torch wheel (holds include/ and lib/); default: the private .venv")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  # Kernels without optimisation are of no use to anybody. A project that has us as a part keeps its own choice.
  if(PROJECT_IS_TOP_LEVEL)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
  else()
    set(CMAKE_BUILD_TYPE Release)
  endif()
endif()
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# What is installed finds libtorch where it was linked.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

find_program(BEACON_CCACHE ccache)
if(BEACON_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${BEACON_CCACHE})
endif()

# Flags every target of ours is compiled with; nothing of it reaches a consumer.
add_library(beacon_flags INTERFACE)
target_compile_options(beacon_flags INTERFACE -Wall -Wextra -Wno-missing-field-initializers $<$<BOOL:${BEACON_WERROR}>:-Werror>)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  # The baseline every file is built for; faster instructions only in src/kernels/cpu, chosen at run time.
  target_compile_options(beacon_flags INTERFACE -march=x86-64-v2)
endif()
if(BEACON_SANITIZE)
  target_compile_options(beacon_flags INTERFACE -fsanitize=${BEACON_SANITIZE} -fno-omit-frame-pointer
                                                -fno-sanitize-recover=undefined)
  target_link_options(beacon_flags INTERFACE -fsanitize=${BEACON_SANITIZE})
endif()
