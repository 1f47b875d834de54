// Every golden case of the original code (tests/data/golden): all sections within tolerance, quirks apart; in
// host memory and on a device.
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

class Golden : public testing::TestWithParam<std::tuple<std::filesystem::path, const char*>> {};

TEST_P(Golden, AgreesWithTheOriginal) {
  const auto& [folder, device] = GetParam();
  int passed = 0, quirks = 0;
  for (const ParityLine& line : run_parity_case(folder, device)) {
    EXPECT_NE(line.status, ParityLine::kFail)
        << line.section << ": " << line.max_abs_diff << " > " << line.tolerance << " " << line.note;
    EXPECT_NE(line.status, ParityLine::kSkipped) << line.section;
    passed += line.status == ParityLine::kPass ? 1 : 0;
    quirks += line.status == ParityLine::kQuirk ? 1 : 0;
  }
  // Only a case that is one single bug of the original has nothing to agree on.
  EXPECT_TRUE(passed > 0 || folder.filename().string().ends_with("_quirk"));
  EXPECT_GT(passed + quirks, 0);
}

INSTANTIATE_TEST_SUITE_P(Cases, Golden,
                         testing::Combine(testing::ValuesIn(case_folders()),
                                          testing::Values("cpu", "pretend")),
                         [](const auto& info) {
                           return std::get<0>(info.param).filename().string() + "_" + std::get<1>(info.param);
                         });

TEST(Golden, HasAllCases) { EXPECT_EQ(case_folders().size(), 32U); }

}  // namespace
}  // namespace beacon
