#include "window/ratio.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

#include <array>
#include <set>

#include "window/planner.h"

namespace beacon {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using Mix = RatioPolicy::Mix;

// Reference outputs of SplitMix64 from state 0, as published with java.util.SplittableRandom's algorithm.
TEST(Generator, IsSplitMix64) {
  uint64_t state = 0;
  const uint64_t all = uint64_t{1} << 63;  // z % 2^63 drops the top bit only
  EXPECT_EQ(next_uniform(state, all), 0xE220A8397B1DCDAFu & (all - 1));
  EXPECT_EQ(next_uniform(state, all), 0x6E789E6AA1B965F4u & (all - 1));
  EXPECT_EQ(next_uniform(state, all), 0x06C45D188009454Fu & (all - 1));
}

TEST(Generator, IsUniform) {
  uint64_t state = 42;
  std::array<int, 5> counts{};
  for (int i = 0; i < 50000; ++i) ++counts[next_uniform(state, 5)];
  for (int count : counts) EXPECT_NEAR(count, 10000, 450);  // five standard deviations of a fair draw
}

WindowOptions options_with(std::vector<int> ratios, Mix mix) {
  WindowOptions o;
  o.window = o.stride = 16;
  o.ratio.ratios = std::move(ratios);
  o.ratio.mix = mix;
  return o;
}

std::vector<int> ratios_of(const WindowOptions& options, int64_t windows) {
  Planner planner(options);
  planner.feed(windows * options.window);
  std::vector<int> ratios;
  while (const auto step = planner.next())
    for (const WindowRecord& window : step->close.windows) ratios.push_back(window.ratio);
  return ratios;
}

TEST(Ratios, ListsKeepZeroAndTheDivisorsOfTheStride) {
  const RatioPolicy policy{{0, 2, 3, 8, 16, 32}, Mix::kStepRandom, 0};
  EXPECT_THAT(ratio_choices(policy, 16, true), ElementsAre(0, 2, 8, 16));
  EXPECT_THAT(ratio_choices(policy, 16, false), ElementsAre(2, 8, 16));
  EXPECT_THAT(ratio_choices({{3}, Mix::kStepRandom, 0}, 16, false), ElementsAre(3));
}

TEST(Ratios, StepRandomUsesEveryRatioAndFollowsItsSeed) {
  WindowOptions o = options_with({0, 2, 4, 5, 8}, Mix::kStepRandom);
  const auto ratios = ratios_of(o, 60);
  EXPECT_EQ(std::set<int>(ratios.begin(), ratios.end()), (std::set<int>{0, 2, 4, 8}));
  EXPECT_EQ(ratios_of(o, 60), ratios);
  o.seed = 43;
  EXPECT_NE(ratios_of(o, 60), ratios);
}

TEST(Ratios, InstanceRandomDrawsOnce) {
  WindowOptions o = options_with({2, 4, 8}, Mix::kInstanceRandom);
  std::set<int> seen;
  for (o.seed = 0; o.seed < 30; ++o.seed) {
    const auto ratios = ratios_of(o, 5);
    ASSERT_EQ(ratios.size(), 5u);
    EXPECT_THAT(ratios, Each(ratios[0]));
    seen.insert(ratios[0]);
  }
  EXPECT_EQ(seen.size(), 3u);
}

TEST(Ratios, SequenceCyclesThroughTheFilteredList) {
  EXPECT_THAT(ratios_of(options_with({8, 3, 2, 4}, Mix::kSequence), 5), ElementsAre(8, 2, 4, 8, 2));
}

TEST(Ratios, ForcedRatiosAreUsedInOrderAndMustSuffice) {
  const WindowOptions o = options_with({8, 0, 2}, Mix::kForced);
  EXPECT_THAT(ratios_of(o, 3), ElementsAre(8, 0, 2));
  EXPECT_THROW(ratios_of(o, 4), Error);
  Planner planner(options_with({8}, Mix::kStepRandom));
  planner.force_ratios({2, 4});
  planner.feed(1);
  planner.next();
  EXPECT_THROW(planner.force_ratios({4, 4}), Error);
}

TEST(Ratios, TrainingAllowsOneRawWindowThatIsNotTheLastFull) {
  WindowOptions o = options_with({0, 2}, Mix::kStepRandom);
  o.training = true;
  int raw_windows = 0;
  for (o.seed = 0; o.seed < 200; ++o.seed) {
    Planner planner(o);
    planner.feed(4 * o.window + 1);
    std::vector<int> ratios;
    while (const auto step = planner.next())
      for (const WindowRecord& window : step->close.windows) ratios.push_back(window.ratio);
    ASSERT_EQ(ratios.size(), 4u);
    const auto zeros = std::count(ratios.begin(), ratios.end(), 0);
    EXPECT_LE(zeros, 1);
    EXPECT_NE(ratios[3], 0);
    raw_windows += static_cast<int>(zeros);
  }
  EXPECT_GT(raw_windows, 100);
  o.ratio.mix = Mix::kInstanceRandom;
  for (o.seed = 0; o.seed < 20; ++o.seed) EXPECT_THAT(ratios_of(o, 4), Each(2));
}

TEST(Ratios, AdaptLooksAtTheFirstFeedUnlessTold) {
  WindowOptions o = options_with({2, 4, 8}, Mix::kAdapt);
  o.max_positions = 48;  // capacities 80, 144, 272
  o.ratio.adapt_tokens = 16;
  const auto ratio_for = [&](int64_t first_feed) {
    Planner planner(o);
    planner.feed(first_feed);
    return planner.state().chosen;
  };
  EXPECT_EQ(ratio_for(64), 2);
  EXPECT_EQ(ratio_for(65), 4);
  EXPECT_EQ(ratio_for(129), 8);
  EXPECT_EQ(ratio_for(100000), 8);
  o.expected_tokens = 65;
  EXPECT_EQ(ratio_for(1), 4);
}

}  // namespace
}  // namespace beacon
