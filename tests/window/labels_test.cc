#include "window/labels.h"

#include <gmock/gmock.h>

namespace beacon {
namespace {

using ::testing::ElementsAre;

WindowOptions training(Placement placement, BeaconAttention attention) {
  WindowOptions o;
  o.window = o.stride = 3;
  o.ratio.ratios = {1};
  o.placement = placement;
  o.attention = attention;
  o.attend_prev = placement == Placement::kAppend;
  o.training = true;
  return o;
}

const int32_t kNone = kIgnoredLabel;

TEST(Labels, AreShiftedOnceOverWindowBorders) {
  const auto o = training(Placement::kInterleave, BeaconAttention::kFullCoverage);
  EXPECT_THAT(shifted_labels(o, {10, 11, 12, 13, 14}), ElementsAre(11, 12, 13, 14, kNone));
  EXPECT_THAT(shifted_labels(o, {kNone, kNone, 12, kNone, 14}), ElementsAre(kNone, 12, kNone, 14, kNone));
  EXPECT_THAT(shifted_labels(o, {}), ElementsAre());
}

TEST(Labels, OfTheFirstWindowAreIgnoredWhereBeaconsCannotMatter) {
  for (auto o : {training(Placement::kAppend, BeaconAttention::kFullCoverage),
                 training(Placement::kAppend, BeaconAttention::kSegmentation),
                 training(Placement::kInterleave, BeaconAttention::kStepExpansion)}) {
    EXPECT_THAT(shifted_labels(o, {10, 11, 12, 13, 14, 15}), ElementsAre(kNone, kNone, kNone, 14, 15, kNone));
    EXPECT_THAT(scored(o, 2), ElementsAre(0, 0));
    o.training = false;
    EXPECT_THAT(scored(o, 5), ElementsAre(1, 1, 1, 1, 0));
  }
}

TEST(Labels, OfTheFirstGenerationAllCount) {
  auto o = training(Placement::kAppend, BeaconAttention::kStepExpansion);
  o.generation = Generation::kFirst;
  EXPECT_THAT(scored(o, 4), ElementsAre(1, 1, 1, 0));
}

TEST(Labels, WithSkipFirstTheFirstStepIsTheSkippedTokens) {
  auto o = training(Placement::kAppend, BeaconAttention::kStepExpansion);
  o.skip_first = 1;
  EXPECT_THAT(scored(o, 4), ElementsAre(0, 1, 1, 0));
}

}  // namespace
}  // namespace beacon
