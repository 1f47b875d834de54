#pragma once
// What the tests of tensors share: seeded random tensors, comparisons that name the worst element, and the
// rotation written out in double.
#include <ATen/ATen.h>
#include <beacon/error.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

namespace beacon::testing {

// Half a unit in the last place of 1, in f32 and bf16.
inline constexpr double kEpsF32 = 0x1p-24;
inline constexpr double kEpsBf16 = 0x1p-8;

// Every test begins with the same random numbers, whatever ran before it.
class TensorTest : public ::testing::Test {
 protected:
  void SetUp() override { at::manual_seed(7); }
};

// |actual - expected| <= tolerance everywhere; the tolerance is a number or a tensor. NaN fails.
template <typename Tolerance>
void expect_close(const at::Tensor& actual, const at::Tensor& expected, const Tolerance& tolerance) {
  ASSERT_EQ(actual.sizes().vec(), expected.sizes().vec());
  if (actual.numel() == 0) return;
  const at::Tensor error = (actual.to(at::kDouble) - expected.to(at::kDouble)).abs() / tolerance;
  const at::Tensor excess = error.nan_to_num(HUGE_VAL, HUGE_VAL).flatten();
  const int64_t where = excess.argmax().item<int64_t>();
  EXPECT_LE(excess[where].item<double>(), 1.0)
      << "element " << where << " of " << actual.sizes() << ": " << actual.flatten()[where].item<double>()
      << " instead of " << expected.flatten()[where].item<double>();
}

// The same shape and the same bits (no NaN among them).
inline void expect_equal(const at::Tensor& actual, const at::Tensor& expected) {
  ASSERT_EQ(actual.sizes().vec(), expected.sizes().vec());
  EXPECT_EQ(actual.scalar_type(), expected.scalar_type());
  EXPECT_TRUE(at::equal(actual, expected))
      << "worst difference " << (actual - expected).abs().max().item<double>();
}

inline void expect_error(ErrorCode code, const std::string& part, const std::function<void()>& action) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown; expected an error with: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), ::testing::HasSubstr(part));
    EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("\n")));
  }
}

// 1 / theta^(2i / H), f64 [H / 2].
inline at::Tensor plain_frequencies(double theta, int64_t head_dim) {
  const at::Tensor exponent = at::arange(0, head_dim, 2, at::kDouble) / static_cast<double>(head_dim);
  return at::pow(theta, exponent).reciprocal();
}

// f64 [T, H / 2]
inline at::Tensor angles(const std::vector<int32_t>& positions, const at::Tensor& frequencies) {
  return at::tensor(positions, at::kDouble).unsqueeze(1) * frequencies.unsqueeze(0);
}

// x [..., T, H] turned by the angles [T, H / 2], in double: the pairs are (i, i + H / 2).
inline at::Tensor turned(const at::Tensor& x, const at::Tensor& angle) {
  const auto halves = x.to(at::kDouble).chunk(2, -1);
  const at::Tensor c = angle.cos(), s = angle.sin();
  return at::cat({halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s}, -1);
}

// What f32 may do to turned(): the frequency, its product with the position, cos, sin and two products are
// each rounded, relative to the length of the pair.
inline at::Tensor turn_tolerance(const at::Tensor& x, const at::Tensor& angle) {
  const auto halves = x.to(at::kDouble).chunk(2, -1);
  const at::Tensor length = (halves[0].square() + halves[1].square()).sqrt();
  const at::Tensor bound = length * (2 * angle.abs() + 6) * kEpsF32 + 1e-30;
  return at::cat({bound, bound}, -1);
}

inline std::vector<int32_t> positions_from(int32_t first, int64_t count) {
  std::vector<int32_t> positions(static_cast<size_t>(count));
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

}  // namespace beacon::testing
