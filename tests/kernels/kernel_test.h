#pragma once
// What the kernel tests share: every test runs once per build of the kernels that this machine can run.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "kernels/table.h"

namespace beacon::kernels {

class KernelTest : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { set_isa_for_tests(GetParam()); }
  void TearDown() override { choose_isa(); }

  std::vector<float> normal(int64_t n, float deviation = 1.0F) {
    std::normal_distribution<float> draw(0.0F, deviation);
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) value = draw(random_);
    return values;
  }

  std::mt19937 random_{1234};
};

#define BEACON_FOR_EVERY_ISA(suite)                                         \
  INSTANTIATE_TEST_SUITE_P(Isa, suite, testing::ValuesIn(available_isas()), \
                           [](const auto& each) { return std::string(each.param); })

// Half a unit in the last place of 1.
inline constexpr double kEps = 0x1p-24;

// Fails with the worst element.
template <typename Tolerance>
void expect_near(const std::vector<float>& actual, const std::vector<float>& expected, Tolerance tolerance) {
  ASSERT_EQ(actual.size(), expected.size());
  double worst = 0;
  size_t where = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double excess = std::fabs(static_cast<double>(actual[i]) - expected[i]) / tolerance(i);
    if (!(excess <= worst)) {
      worst = excess;
      where = i;
    }
    if (std::isnan(excess)) break;
  }
  EXPECT_LE(worst, 1.0) << "element " << where << ": " << actual[where] << " instead of " << expected[where]
                        << ", tolerance " << tolerance(where);
}

}  // namespace beacon::kernels
