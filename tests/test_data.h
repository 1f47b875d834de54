#pragma once
// Where the files of tests/data are.
#include <cstdlib>
#include <filesystem>

namespace beacon::testing {

// BEACON_TEST_DATA, for a test program that was taken to another machine; else the folder in the source tree.
inline std::filesystem::path test_data() {
  const char* elsewhere = std::getenv("BEACON_TEST_DATA");
  return elsewhere != nullptr ? elsewhere : BEACON_TEST_DATA_DIR;
}

}  // namespace beacon::testing
