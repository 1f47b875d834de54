# Headers that cost seconds a file, compiled once each and shared by every target that asks for them. A user of a
# precompiled header must be compiled with the flags of its donor: libraries (-fPIC) and programs (-fPIE) have their own.
set(_empty "${PROJECT_BINARY_DIR}/precompiled/empty.cc")
file(CONFIGURE OUTPUT "${_empty}" CONTENT "int main() { return 0; }\n")

function(_beacon_donor target kind)
  if(kind STREQUAL "library")
    add_library(${target} STATIC EXCLUDE_FROM_ALL "${_empty}")
  else()
    add_executable(${target} EXCLUDE_FROM_ALL "${_empty}")
  endif()
endfunction()

_beacon_donor(beacon_pch_torch library)
target_link_libraries(beacon_pch_torch PRIVATE beacon_flags beacon_torch)
target_precompile_headers(beacon_pch_torch PRIVATE <ATen/ATen.h>)

if(BEACON_BUILD_TESTS)
  _beacon_donor(beacon_pch_test program)
  target_link_libraries(beacon_pch_test PRIVATE beacon_flags GTest::gmock)
  target_precompile_headers(beacon_pch_test PRIVATE <gmock/gmock.h> <gtest/gtest.h>)

  _beacon_donor(beacon_pch_test_torch program)
  target_link_libraries(beacon_pch_test_torch PRIVATE beacon_flags beacon_torch GTest::gmock)
  target_precompile_headers(beacon_pch_test_torch PRIVATE <ATen/ATen.h> <gmock/gmock.h> <gtest/gtest.h>)
endif()
