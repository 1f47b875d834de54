#include "eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace beacon::eval {
namespace {

TEST(Statistics, StudentTAsInTheTables) {
  const std::pair<int64_t, double> table[] = {{1, 12.706}, {5, 2.571},  {10, 2.228},  {11, 2.201},
                                              {18, 2.101}, {30, 2.042}, {120, 1.980}, {1000000, 1.960}};
  for (const auto& [degrees, value] : table) EXPECT_NEAR(student_t_975(degrees), value, 6e-4) << degrees;
}

TEST(Statistics, MeanWeighsByCount) {
  const std::vector<Cluster> clusters = {{3, 1}, {10, 9}};
  EXPECT_DOUBLE_EQ(mean(clusters), 1.3);
}

// Equal counts: the textbook interval of the mean of three numbers, 1 +- 4.3027 * 1 / sqrt(3).
TEST(Statistics, IntervalOfEqualClusters) {
  const std::vector<Cluster> clusters = {{0, 10}, {10, 10}, {20, 10}};
  const auto interval = mean_interval(clusters);
  ASSERT_TRUE(interval);
  EXPECT_NEAR(interval->high, 1 + 4.3027 / std::sqrt(3.0), 1e-4);
  EXPECT_NEAR(interval->low, 1 - 4.3027 / std::sqrt(3.0), 1e-4);
}

TEST(Statistics, NoIntervalFromOneCluster) { EXPECT_FALSE(mean_interval(std::vector<Cluster>{{3, 2}})); }

TEST(Statistics, IntervalsHoldTheTruthNineteenTimesInTwenty) {
  std::mt19937 generator(5);
  std::normal_distribution<double> documents(3.0, 0.4), tokens(0.0, 1.0);
  int held = 0;
  constexpr int kRuns = 2000;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<Cluster> clusters;
    for (int d = 0; d < 8; ++d) {
      const double level = documents(generator);
      clusters.push_back({0, 20 + d});
      for (int64_t t = 0; t < clusters.back().count; ++t) clusters.back().sum += level + tokens(generator);
    }
    const auto interval = mean_interval(clusters);
    held += interval->low <= 3.0 && 3.0 <= interval->high ? 1 : 0;
  }
  // Four standard errors of 2000 trials are 2 %; unequal counts cost the estimate a little.
  EXPECT_NEAR(held / static_cast<double>(kRuns), 0.95, 0.02);
}

// Wilson's interval for 8 of 10: 0.4902 to 0.9433.
TEST(Statistics, Proportions) {
  const Interval some = proportion_interval(8, 10);
  EXPECT_NEAR(some.low, 0.4902, 5e-5);
  EXPECT_NEAR(some.high, 0.9433, 5e-5);
  const Interval none = proportion_interval(0, 10);
  EXPECT_DOUBLE_EQ(none.low, 0);
  EXPECT_NEAR(none.high, 0.2775, 5e-5);
  EXPECT_DOUBLE_EQ(proportion_interval(5, 5).high, 1);
}

}  // namespace
}  // namespace beacon::eval
