# libbeacon: every module but the program in one shared library that exports the public headers' names and no others,
# and the program and headers beside it in an installation that find_package(beacon) reads.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(_modules GLOBAL PROPERTY BEACON_MODULES)
get_property(_outside GLOBAL PROPERTY BEACON_OUTSIDE_LIBS)
list(REMOVE_ITEM _modules beacon_cli)
list(REMOVE_DUPLICATES _outside)
list(TRANSFORM _modules REPLACE "(.+)" "$<TARGET_FILE:\\1>" OUTPUT_VARIABLE _archives)
set(_empty "${PROJECT_BINARY_DIR}/precompiled/empty_library.cc")
file(CONFIGURE OUTPUT "${_empty}" CONTENT "")

add_library(beacon_shared SHARED "${_empty}")
add_library(beacon::beacon ALIAS beacon_shared)
add_dependencies(beacon_shared ${_modules})
# Every object of every module, also those that nothing refers to yet; each archive once, so not through the targets.
target_link_libraries(beacon_shared PRIVATE beacon_flags
  -Wl,--whole-archive ${_archives} -Wl,--no-whole-archive ${_outside})
if(NOT BEACON_SANITIZE)
  target_link_options(beacon_shared PRIVATE "LINKER:--no-undefined")
endif()
set_target_properties(beacon_shared PROPERTIES
  OUTPUT_NAME beacon EXPORT_NAME beacon LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR}
  LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}" LINK_DEPENDS "${_archives};${PROJECT_SOURCE_DIR}/cmake/libbeacon.map")
target_link_options(beacon_shared PRIVATE "LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/libbeacon.map")
target_compile_features(beacon_shared INTERFACE cxx_std_20)
target_include_directories(beacon_shared INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

if(NOT BEACON_INSTALL)
  return()
endif()
install(TARGETS beacon_shared EXPORT beaconTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} NAMELINK_COMPONENT dev)
if(TARGET beacon)
  install(TARGETS beacon RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/beacon" DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

set(_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/beacon)
install(EXPORT beaconTargets NAMESPACE beacon:: FILE beaconConfig.cmake DESTINATION ${_package_dir})
write_basic_package_version_file("${PROJECT_BINARY_DIR}/beaconConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/beaconConfigVersion.cmake" DESTINATION ${_package_dir})
