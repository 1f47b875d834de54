// Every golden case of the original code (tests/data/golden): all sections within tolerance, quirks apart.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/parity.h"

namespace beacon {
namespace {

std::vector<std::filesystem::path> case_folders() {
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(BEACON_TEST_DATA_DIR "/golden")) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

class Golden : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(Golden, AgreesWithTheOriginal) {
  int passed = 0, quirks = 0;
  for (const ParityLine& line : run_parity_case(GetParam())) {
    EXPECT_NE(line.status, ParityLine::kFail)
        << line.section << ": " << line.max_abs_diff << " > " << line.tolerance << " " << line.note;
    EXPECT_NE(line.status, ParityLine::kSkipped) << line.section;
    passed += line.status == ParityLine::kPass ? 1 : 0;
    quirks += line.status == ParityLine::kQuirk ? 1 : 0;
  }
  // Only a case that is one single bug of the original has nothing to agree on.
  EXPECT_TRUE(passed > 0 || GetParam().filename().string().ends_with("_quirk"));
  EXPECT_GT(passed + quirks, 0);
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden, testing::ValuesIn(case_folders()),
                         [](const auto& info) { return info.param.filename().string(); });

TEST(Golden, HasAllCases) { EXPECT_EQ(case_folders().size(), 32U); }

}  // namespace
}  // namespace beacon
