// Half-precision conversions against their definition: the nearest representable number, even on a tie.
#include "kernels/convert.h"

#include <bit>
#include <limits>

#include "kernel_test.h"
#include "kernels/reference/reference.h"

namespace beacon::kernels {
namespace {

class ConvertTest : public KernelTest {};
BEACON_FOR_EVERY_ISA(ConvertTest);

std::vector<uint16_t> all_halves() {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  return halves;
}

// The value of a finite half from its fields.
double f16_value(uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int fraction = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

TEST_P(ConvertTest, ReadsEveryF16) {
  const auto halves = all_halves();
  std::vector<float> values(halves.size());
  f16_to_f32(halves.data(), values.data(), static_cast<int64_t>(halves.size()));
  for (const uint16_t half : halves) {
    const bool special = ((half >> 10) & 31) == 31;
    if (special && (half & 1023) != 0) {
      ASSERT_TRUE(std::isnan(values[half])) << half;
    } else if (special) {
      ASSERT_EQ(values[half], (half & 0x8000) != 0 ? -INFINITY : INFINITY);
    } else {
      ASSERT_EQ(values[half], f16_value(half)) << half;
      ASSERT_EQ(std::signbit(values[half]), (half & 0x8000) != 0);
    }
  }
}

TEST_P(ConvertTest, ReadsEveryBf16) {
  const auto halves = all_halves();
  std::vector<float> values(halves.size());
  bf16_to_f32(halves.data(), values.data(), static_cast<int64_t>(halves.size()));
  for (const uint16_t half : halves) ASSERT_EQ(std::bit_cast<uint32_t>(values[half]), uint32_t{half} << 16);
}

// For each pair of neighbouring halves: the halves themselves, the point between them (to even) and its
// neighbours.
template <typename ToHalf, typename ToFloat>
void check_rounding(ToHalf to_half, ToFloat to_float, uint16_t infinity) {
  std::vector<float> inputs;
  std::vector<uint16_t> expected;
  for (uint16_t half = 0; half + 1 < infinity; ++half) {
    const float low = to_float(half);
    const float high = to_float(static_cast<uint16_t>(half + 1));
    const float middle = static_cast<float>((static_cast<double>(low) + high) / 2);
    inputs.insert(inputs.end(),
                  {low, std::nextafter(middle, 0.0F), middle, std::nextafter(middle, INFINITY)});
    const auto even = static_cast<uint16_t>(half + half % 2);
    expected.insert(expected.end(), {half, half, even, static_cast<uint16_t>(half + 1)});
  }
  for (const float sign : {1.0F, -1.0F}) {
    std::vector<float> signed_inputs = inputs;
    for (float& value : signed_inputs) value *= sign;
    std::vector<uint16_t> actual(inputs.size());
    to_half(signed_inputs.data(), actual.data(), static_cast<int64_t>(actual.size()));
    for (size_t i = 0; i < actual.size(); ++i)
      ASSERT_EQ(actual[i], expected[i] | (sign < 0 ? 0x8000 : 0)) << signed_inputs[i];
  }
}

TEST_P(ConvertTest, RoundsToTheNearestF16) {
  check_rounding(
      f32_to_f16, [](uint16_t half) { return static_cast<float>(f16_value(half)); }, 0x7C00);
}

TEST_P(ConvertTest, RoundsToTheNearestBf16) {
  // Between subnormal bf16 neighbours nextafter still moves by one f32 step, so the same check holds from 0
  // on.
  check_rounding(
      f32_to_bf16, [](uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); }, 0x7F80);
}

TEST_P(ConvertTest, KeepsWhatIsNoNumber) {
  const float most = std::numeric_limits<float>::max();
  const std::vector<float> inputs = {INFINITY,
                                     -INFINITY,
                                     most,
                                     -most,
                                     NAN,
                                     -NAN,
                                     std::bit_cast<float>(0x7F800001U),
                                     std::bit_cast<float>(0xFFFFFFFFU),
                                     65519.996F,
                                     65520.0F};
  std::vector<uint16_t> f16(inputs.size());
  std::vector<uint16_t> bf16(inputs.size());
  f32_to_f16(inputs.data(), f16.data(), static_cast<int64_t>(inputs.size()));
  f32_to_bf16(inputs.data(), bf16.data(), static_cast<int64_t>(inputs.size()));
  EXPECT_EQ(std::vector(f16.begin(), f16.begin() + 4),
            (std::vector<uint16_t>{0x7C00, 0xFC00, 0x7C00, 0xFC00}));
  EXPECT_EQ(std::vector(bf16.begin(), bf16.begin() + 4),
            (std::vector<uint16_t>{0x7F80, 0xFF80, 0x7F80, 0xFF80}));
  for (size_t i = 4; i < 8; ++i) {
    const bool negative = std::signbit(inputs[i]);
    EXPECT_EQ(f16[i] & 0xFE00, negative ? 0xFE00 : 0x7E00) << i;
    EXPECT_EQ(bf16[i] & 0xFFC0, negative ? 0xFFC0 : 0x7FC0) << i;
  }
  EXPECT_EQ(f16[8], 0x7BFF);
  EXPECT_EQ(f16[9], 0x7C00);
}

TEST_P(ConvertTest, WritesNothingBeyondTheEnd) {
  for (int64_t n = 0; n < 40; ++n) {
    const auto inputs = normal(n);
    std::vector<uint16_t> halves(static_cast<size_t>(n) + 1, 7);
    f32_to_f16(inputs.data(), halves.data(), n);
    f32_to_bf16(inputs.data(), halves.data(), n);
    std::vector<float> back(static_cast<size_t>(n) + 1, 7.0F);
    bf16_to_f32(halves.data(), back.data(), n);
    // Eight bits of significand: half a unit in the last place is 2^-8 of the value at most.
    for (int64_t i = 0; i < n; ++i)
      ASSERT_LE(std::fabs(back[i] - inputs[i]), std::ldexp(std::fabs(inputs[i]), -8));
    EXPECT_EQ(halves[n], 7);
    EXPECT_EQ(back[n], 7.0F);
  }
}

std::vector<std::byte> q8_0_of(const std::vector<float>& x) {
  std::vector<std::byte> blocks(x.size() / 32 * 34, std::byte{0xEE});
  quantize_row_q8_0(x.data(), blocks.data(), static_cast<int64_t>(x.size()));
  return blocks;
}

TEST_P(ConvertTest, RoundsToQ8_0) {
  std::vector<float> x = normal(32 * 200);
  // Blocks of all sizes, down to where the scale is a subnormal half or nothing.
  for (size_t i = 0; i < x.size(); ++i) x[i] *= std::ldexp(1.0F, static_cast<int>(i / 32) - 150);
  const auto blocks = q8_0_of(x);
  std::vector<float> back(x.size());
  dequantize_row(DType::kQ8_0, blocks.data(), back.data(), static_cast<int64_t>(x.size()));
  for (size_t b = 0; b < x.size(); b += 32) {
    double largest = 0;
    for (size_t i = b; i < b + 32; ++i) largest = std::max(largest, std::fabs(static_cast<double>(x[i])));
    if (largest / 127 >= 65504) continue;
    // Half a step; the scale is rounded to 11 bits or to 2^-24, and what it is too small for is cut off.
    const double scale_error = std::max(largest / 127 * 0x1p-11, 0x1p-25);
    for (size_t i = b; i < b + 32; ++i)
      ASSERT_NEAR(back[i], x[i], (largest / 127 + scale_error) / 2 * 1.0001 + 127 * scale_error) << i;
  }
  // The largest number of a block takes the largest step, and neighbours differ by one.
  std::vector<float> ramp(32);
  for (size_t i = 0; i < 32; ++i) ramp[i] = 0.25F * (static_cast<float>(i) * 8 - 127);
  const auto steps = q8_0_of(ramp);
  for (size_t i = 0; i < 32; ++i)
    EXPECT_EQ(static_cast<int8_t>(steps[2 + i]), static_cast<int>(i) * 8 - 127) << i;
}

TEST_P(ConvertTest, Q8_0HasTheSameBitsEverywhere) {
  std::vector<float> x = normal(32 * 100);
  for (size_t i = 0; i < x.size(); ++i) x[i] *= std::ldexp(1.0F, static_cast<int>(i / 32) - 60);
  x[3] = NAN;
  x[40] = INFINITY;
  x[70] = -INFINITY;
  x[100] = 1e30F;
  for (size_t i = 128; i < 160; ++i) x[i] = i % 2 == 0 ? 0.0F : -0.0F;
  for (size_t i = 160; i < 192; ++i) x[i] = static_cast<float>(i) - 175.5F;  // ties
  x[160] = 127.0F;
  std::vector<std::byte> expected(x.size() / 32 * 34);
  reference::quantize_row_q8_0(x.data(), expected.data(), static_cast<int64_t>(x.size()));
  const auto blocks = q8_0_of(x);
  std::vector<float> back(x.size());
  dequantize_row(DType::kQ8_0, blocks.data(), back.data(), static_cast<int64_t>(x.size()));
  for (const size_t bad : {0, 32, 64}) {
    EXPECT_TRUE(std::isnan(back[bad])) << bad;
    // Which NaN it is does not matter.
    std::copy_n(blocks.begin() + static_cast<int64_t>(bad / 32 * 34), 34,
                expected.begin() + static_cast<int64_t>(bad / 32 * 34));
  }
  EXPECT_EQ(blocks, expected);
  EXPECT_FALSE(std::isfinite(back[100]));
}

}  // namespace
}  // namespace beacon::kernels
