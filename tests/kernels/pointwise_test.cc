#include <algorithm>
#include <limits>

#include "kernel_test.h"
#include "kernels/activation.h"
#include "kernels/reference/reference.h"

namespace beacon::kernels {
namespace {

class PointwiseTest : public KernelTest {};
BEACON_FOR_EVERY_ISA(PointwiseTest);

constexpr int64_t kSizes[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 576};

TEST_P(PointwiseTest, ExpIsAccurateEverywhere) {
  std::vector<float> x;
  for (double value = -87.3; value < 88.7; value += 0.00037) x.push_back(static_cast<float>(value));
  for (float value = 1e-30F; value < 1.0F; value *= 1.5F) x.insert(x.end(), {value, -value});
  std::vector<float> y(x.size());
  exp_row(x.data(), y.data(), static_cast<int64_t>(x.size()));
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = std::exp(static_cast<double>(x[i]));
    ASSERT_NEAR(y[i], exact, exact * 1e-6) << x[i];
  }
}

TEST_P(PointwiseTest, ExpAtItsEnds) {
  const std::vector<float> x = {0.0F, -0.0F,  INFINITY, -INFINITY, 1e30F,   -1e30F, 200.0F, -200.0F,
                                NAN,  -87.5F, -95.0F,   -103.0F,   -104.5F, 88.72F, 88.73F};
  std::vector<float> y(x.size());
  exp_row(x.data(), y.data(), static_cast<int64_t>(x.size()));
  const float infinity = INFINITY;
  EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 8),
            (std::vector<float>{1, 1, infinity, 0, infinity, 0, infinity, 0}));
  EXPECT_TRUE(std::isnan(y[8]));
  for (size_t i = 9; i <= 12; ++i) EXPECT_NEAR(y[i], std::exp(static_cast<double>(x[i])), 0x1p-148) << x[i];
  EXPECT_NEAR(y[13], std::exp(88.72), std::exp(88.72) * 1e-5);
  EXPECT_EQ(y[14], infinity);
}

TEST_P(PointwiseTest, Silu) {
  for (const int64_t n : kSizes) {
    const auto x = normal(n, 4.0F);
    std::vector<float> expected(n);
    std::vector<float> y(n);
    // The error of exp (1e-6), damped by the sum with 1, and three roundings.
    const auto tolerance = [&](size_t i) { return 2e-6 * std::fabs(expected[i]) + 1e-37; };
    reference::silu(x.data(), expected.data(), n);
    silu(x.data(), y.data(), n);
    expect_near(y, expected, tolerance);
  }
}

TEST_P(PointwiseTest, SiluAtItsEnds) {
  const std::vector<float> x = {0.0F, -100.0F, 100.0F, INFINITY, NAN, -1e30F};
  std::vector<float> y(x.size());
  silu(x.data(), y.data(), static_cast<int64_t>(x.size()));
  EXPECT_EQ(y[0], 0.0F);
  EXPECT_NEAR(y[1], 0.0F, 1e-35F);
  EXPECT_EQ(y[2], 100.0F);
  EXPECT_EQ(y[3], std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(y[4]));
  EXPECT_NEAR(y[5], 0.0F, 1e-35F);
}

TEST_P(PointwiseTest, SoftmaxRow) {
  for (const int64_t n : kSizes) {
    auto x = normal(n, 5.0F);
    if (n > 2) x[1] = -INFINITY;
    std::vector<float> expected(n);
    reference::softmax_row(x.data(), expected.data(), n);
    softmax_row(x.data(), x.data(), n);
    // Twice the error of exp and the rounding of x - max (at most 40).
    expect_near(x, expected, [&](size_t i) { return (2e-6 + 40 * kEps) * expected[i] + 1e-37; });
  }
  std::vector<float> none(9, -INFINITY);
  softmax_row(none.data(), none.data(), 9);
  EXPECT_EQ(none, std::vector<float>(9, 0.0F));
  std::vector<float> bad = {1.0F, NAN, 2.0F};
  softmax_row(bad.data(), bad.data(), 3);
  EXPECT_TRUE(std::isnan(bad[0]));
}

TEST_P(PointwiseTest, ArgmaxTakesTheFirstAndSkipsNan) {
  for (const int64_t n : kSizes) {
    auto x = normal(n);
    EXPECT_EQ(argmax(x.data(), n), std::max_element(x.begin(), x.end()) - x.begin());
    x[n / 2] = 100.0F;
    x[n - 1] = 100.0F;
    EXPECT_EQ(argmax(x.data(), n), n / 2);
    x[0] = NAN;
    if (n > 2) {
      EXPECT_EQ(argmax(x.data(), n), n / 2);
    }
  }
  const std::vector<float> none(5, NAN);
  EXPECT_EQ(argmax(none.data(), 5), 0);
  const std::vector<float> low = {NAN, -INFINITY};
  EXPECT_EQ(argmax(low.data(), 2), 1);
}

}  // namespace
}  // namespace beacon::kernels
