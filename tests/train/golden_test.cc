// The training sections of the golden cases: loss, logits and every gradient of the original code.
#include <gtest/gtest.h>

#include <algorithm>

#include "train/parity.h"

namespace beacon {
namespace {

class TrainingGolden : public testing::TestWithParam<const char*> {};

TEST_P(TrainingGolden, AgreesWithTheOriginal) {
  std::vector<std::string> sections;
  const std::filesystem::path folder = BEACON_TEST_DATA_DIR "/golden";
  for (const ParityLine& line : run_training_parity_case(folder / GetParam())) {
    EXPECT_EQ(line.status, ParityLine::kPass)
        << line.section << ": " << line.max_abs_diff << " > " << line.tolerance << " " << line.note;
    EXPECT_LE(line.tolerance, 1e-4);
    sections.push_back(line.section);
  }
  for (const char* section : {"train_loss", "train.logits", "train.token_loss", "grad"}) {
    EXPECT_NE(std::find(sections.begin(), sections.end(), section), sections.end()) << section;
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TrainingGolden,
                         testing::Values("append_full_r4", "append_step_r4", "llama_main_r4_w32",
                                         "param_none", "param_qkvo", "qwen2_main_r2_w32", "sink1_r4"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(TrainingGolden, AgreesOnADevice) {
  const std::filesystem::path folder = BEACON_TEST_DATA_DIR "/golden";
  int compared = 0;
  for (const ParityLine& line : run_training_parity_case(folder / GetParam(), "pretend")) {
    EXPECT_EQ(line.status, ParityLine::kPass)
        << line.section << ": " << line.max_abs_diff << " > " << line.tolerance << " " << line.note;
    ++compared;
  }
  EXPECT_EQ(compared, 2);  // the loss and the gradients of the beacons
}

TEST(TrainingGolden, ACaseWithoutTrainingHasNoLines) {
  EXPECT_TRUE(run_training_parity_case(BEACON_TEST_DATA_DIR "/golden/ratio0").empty());
}

TEST(TrainingGolden, GradientsOfTheBaseAreCompared) {
  int found = 0;
  for (const ParityLine& line : run_training_parity_case(BEACON_TEST_DATA_DIR "/golden/sink1_r4")) {
    found += line.section == "grad_all" && line.note.starts_with("21 tensors") ? 1 : 0;
  }
  EXPECT_EQ(found, 1);
}

}  // namespace
}  // namespace beacon
