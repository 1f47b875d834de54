#include "train/sequence_plan.h"

#include <gmock/gmock.h>

namespace beacon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

WindowOptions options(int64_t window, int64_t stride, int64_t sink, int ratio) {
  WindowOptions o;
  o.training = true;
  o.window = window;
  o.stride = stride;
  o.sink = sink;
  o.ratio.ratios = {ratio};
  return o;
}

// Window 8, ratio 4: x0 x1 x2 x3 b x4 x5 x6 x7 b, of which the beacons stay; then x8 x9 x10 without beacons.
TEST(SequencePlanTest, KeepsTheBeaconsOfAWindow) {
  const SequencePlan plan = plan_sequence(options(8, 8, 0, 4), 11);
  ASSERT_EQ(plan.steps.size(), 2U);
  EXPECT_THAT(plan.steps[0].memory, IsEmpty());
  EXPECT_THAT(plan.steps[0].kept, ElementsAre(4, 9));
  EXPECT_THAT(plan.steps[0].tokens, ElementsAre(0, 1, 2, 3, -1, 4, 5, 6, 7, -1));
  EXPECT_THAT(plan.steps[0].beacon_keys, ElementsAre(0, 0, 0, 0, 1, 0, 0, 0, 0, 1));
  EXPECT_EQ(plan.steps[0].ratio, -1);
  EXPECT_THAT(plan.steps[1].memory, ElementsAre(0, 1));
  EXPECT_THAT(plan.steps[1].beacon_keys, ElementsAre(1, 1, 0, 0, 0));
  EXPECT_THAT(plan.steps[1].kept, IsEmpty());
  EXPECT_EQ(plan.steps[1].ratio, 4);
  EXPECT_EQ(plan.bank_rows, 2);
}

// Window 6, stride 4, ratio 2, sink 1 (docs/algorithm.md, "Rolling window"): the first step leaves
// [x0][b0 b1][x4 x5 b2].
TEST(SequencePlanTest, KeepsSinkAndRawTail) {
  const SequencePlan plan = plan_sequence(options(6, 4, 1, 2), 12);
  ASSERT_EQ(plan.steps.size(), 3U);
  // Rows x0 x1 b0 x2 x3 b1 x4 x5 b2; kept: x0 (bank row 0), b0, b1, x4, x5, b2 (bank row 5).
  EXPECT_THAT(plan.steps[0].kept, ElementsAre(0, 2, 5, 6, 7, 8));
  EXPECT_THAT(plan.steps[1].memory, ElementsAre(0, 1, 2, 3, 4, 5));
  // Rows x6 x7 b3 x8 x9 b4: x4 x5 x6 x7 go, b2 b3 become memory, x8 x9 b4 stay.
  EXPECT_THAT(plan.steps[1].kept, ElementsAre(2, 3, 4, 5));
  EXPECT_EQ(plan.steps[1].bank_begin, 6);
  EXPECT_THAT(plan.steps[2].memory, ElementsAre(0, 1, 2, 5, 6, 7, 8, 9));
  EXPECT_THAT(plan.steps[2].beacon_keys, ElementsAre(0, 1, 1, 1, 1, 0, 0, 1, 0, 0));
  EXPECT_EQ(plan.bank_rows, 10);
}

// A sink row that is also kept in its window has one place, referred to twice.
TEST(SequencePlanTest, RatioZeroKeepsRawRows) {
  WindowOptions o = options(4, 4, 0, 0);
  const SequencePlan plan = plan_sequence(o, 9);
  EXPECT_THAT(plan.steps[0].kept, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(plan.steps[1].memory, ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(plan.steps[1].beacon_keys, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_EQ(plan.steps[1].ratio, 0);
}

TEST(SequencePlanTest, OneWindowKeepsNothing) {
  const SequencePlan plan = plan_sequence(options(16, 16, 0, 4), 16);
  ASSERT_EQ(plan.steps.size(), 1U);
  EXPECT_EQ(plan.bank_rows, 0);
  EXPECT_EQ(plan.steps[0].tokens.size(), 16U);
}

}  // namespace
}  // namespace beacon
