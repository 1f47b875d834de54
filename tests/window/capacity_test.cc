#include "window/capacity.h"

#include <beacon/error.h>
#include <gtest/gtest.h>

#include "window/planner.h"

namespace beacon {
namespace {

// The tables of the study (1.4) and of docs/algorithm.md.
TEST(Capacity, OfPublishedModels) {
  struct Model {
    int64_t positions, window;
    std::vector<int64_t> tokens;  // at ratios 2, 4, ..., 128
  };
  for (const Model& model :
       std::vector<Model>{{4096, 1024, {7168, 13312, 25600, 50176, 99328, 197632, 394240}},
                          {8192, 1024, {15360, 29696, 58368, 115712, 230400, 459776, 918528}},
                          {32768, 2048, {63488, 124928, 247808, 493568, 985088, 1968128, 3934208}}})
    for (size_t i = 0; i < model.tokens.size(); ++i)
      EXPECT_EQ(capacity(model.positions, model.window, 2 << i), model.tokens[i]);
  EXPECT_EQ(capacity(8192, 1024, 0), 8192);
  EXPECT_EQ(capacity(512, 1024, 8), 0);
}

TEST(Capacity, AdaptTakesTheSmallestThatHoldsElseTheLargestRatio) {
  const std::vector<int> ratios = {32, 2, 8, 4, 16};
  // adapt-1024 on Llama-2 switches after 6144, 12288 and 24576 tokens (study 8).
  EXPECT_EQ(adapt_ratio(ratios, 4096, 1024, 6144, 1024), 2);
  EXPECT_EQ(adapt_ratio(ratios, 4096, 1024, 6145, 1024), 4);
  EXPECT_EQ(adapt_ratio(ratios, 4096, 1024, 12289, 1024), 8);
  EXPECT_EQ(adapt_ratio(ratios, 4096, 1024, 24577, 1024), 16);
  EXPECT_EQ(adapt_ratio(ratios, 4096, 1024, 1000000, 1024), 32);
  EXPECT_EQ(adapt_ratio({0, 2}, 4096, 1024, 3000, 1024), 0);
}

WindowOptions options_for(int64_t window, int64_t stride, int64_t sink, int64_t max_positions) {
  WindowOptions o;
  o.window = window;
  o.stride = stride;
  o.sink = sink;
  o.max_positions = max_positions;
  return o;
}

// sink + beacons + W(1 + 1/ratio) when the window is about to close.
TEST(Capacity, PositionsNeededAreSinkBeaconsAndAWholeWindow) {
  const WindowOptions o = options_for(1024, 1024, 1, 0);
  EXPECT_EQ(positions_needed(o, 8, 0), 0);
  EXPECT_EQ(positions_needed(o, 8, 1024), 1152);
  EXPECT_EQ(positions_needed(o, 8, 10 * 1024), 1 + 9 * 128 + 1152);
  EXPECT_EQ(positions_needed(o, 8, 10 * 1024 + 100), 1 + 9 * 128 + 1152);
  EXPECT_EQ(positions_needed(options_for(1024, 512, 1, 0), 8, 10 * 1024), 1 + 18 * 64 + 1152);
}

TEST(Capacity, TokensThatFitAreExact) {
  for (const WindowOptions& base : {options_for(64, 64, 0, 512), options_for(64, 24, 4, 300)})
    for (const Placement placement : {Placement::kInterleave, Placement::kAppend})
      for (int ratio : {0, 1, 3, 8}) {
        WindowOptions o = base;
        o.placement = placement;
        const int64_t fits = tokens_that_fit(o, ratio);
        EXPECT_LE(positions_needed(o, ratio, fits), o.max_positions);
        EXPECT_GT(positions_needed(o, ratio, fits + 1), o.max_positions) << "ratio " << ratio;
      }
  EXPECT_EQ(tokens_that_fit(options_for(64, 64, 0, 512), 8, 100), 100);
  // The rule of thumb leaves out the beacons of the open window, so it promises a little more than fits.
  const WindowOptions smollm = options_for(1024, 1024, 0, 8192);
  EXPECT_LE(tokens_that_fit(smollm, 8), capacity(8192, 1024, 8));
  EXPECT_GE(tokens_that_fit(smollm, 8), capacity(8192, 1024, 8) - 2 * 1024);
}

// 93 windows close in 6000 tokens; the last one needs 1 + 92 * 64/a + 64 + 64/a = 65 + 5952/a positions: a
// >= 13.3.
TEST(Capacity, SmallestRatioThatHolds) {
  const WindowOptions o = options_for(64, 64, 1, 512);
  EXPECT_EQ(smallest_ratio_that_holds(o, 200), 1);
  EXPECT_EQ(smallest_ratio_that_holds(o, 6000), 16);
  EXPECT_EQ(smallest_ratio_that_holds(o, 6000, {64, 32, 8}), 32);
  EXPECT_EQ(smallest_ratio_that_holds(o, 6000, {2, 4, 8}), std::nullopt);
  EXPECT_EQ(smallest_ratio_that_holds(o, 10000000), std::nullopt);
  EXPECT_THROW(smallest_ratio_that_holds(options_for(64, 64, 0, 0), 10), Error);
}

TEST(Capacity, NumStrides) {
  const WindowOptions o = options_for(8, 4, 0, 0);
  EXPECT_EQ(num_strides(o, 0), 0);
  EXPECT_EQ(num_strides(o, 8), 1);
  EXPECT_EQ(num_strides(o, 9), 2);
  EXPECT_EQ(num_strides(o, 12), 2);
  EXPECT_EQ(num_strides(o, 13), 3);
}

}  // namespace
}  // namespace beacon
