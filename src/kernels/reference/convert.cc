// Half-precision formats by their definition.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {

float bf16_to_f32_one(uint16_t value) noexcept {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}

float f16_to_f32_one(uint16_t value) noexcept {
  const uint32_t sign = static_cast<uint32_t>(value >> 15) << 31;
  const int exponent = (value >> 10) & 31;
  const int fraction = value & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000U | static_cast<uint32_t>(fraction) << 13);
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                        : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return sign != 0 ? -magnitude : magnitude;
}

uint16_t f32_to_bf16_one(float value) noexcept {
  const auto bits = std::bit_cast<uint32_t>(value);
  // Rounding a NaN could carry into infinity; keep its top bits and make it quiet.
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40U);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

uint16_t f32_to_f16_one(float value) noexcept {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 31 << 15;
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7E00U | ((bits >> 13) & 0x1FFU));
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520.0F) return static_cast<uint16_t>(sign | 0x7C00U);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  // The unit in the last place of the result is 2^(exponent - 11), never below the smallest subnormal 2^-24.
  const int ulp = magnitude == 0 ? -24 : std::max(exponent - 11, -24);
  const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -ulp)));
  // steps is 1024..2048 for normal numbers; adding it to the exponent field lets a carry do the right thing.
  return static_cast<uint16_t>(sign | ((static_cast<uint32_t>(ulp + 24) << 10) + steps));
}

void quantize_row_q8_0(const float* src, std::byte* dst, int64_t n) noexcept {
  for (int64_t b = 0; b < n / 32; ++b) {
    const float* x = src + 32 * b;
    std::byte* block = dst + 34 * b;
    bool finite = true;
    float largest = 0;
    for (int i = 0; i < 32; ++i) {
      finite = finite && std::isfinite(x[i]);
      largest = std::max(largest, std::fabs(x[i]));
    }
    const uint16_t half = f32_to_f16_one(finite ? largest / 127.0F : std::numeric_limits<float>::quiet_NaN());
    std::memcpy(block, &half, sizeof half);
    const float scale = f16_to_f32_one(half);
    for (int i = 0; i < 32; ++i) {
      const bool usable = std::isfinite(scale) && scale > 0;
      const float steps = usable ? std::clamp(x[i] * (1.0F / scale), -127.0F, 127.0F) : 0.0F;
      block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::nearbyint(steps)));
    }
  }
}

void f32_to_bf16(const float* src, uint16_t* dst, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) dst[i] = f32_to_bf16_one(src[i]);
}

void f32_to_f16(const float* src, uint16_t* dst, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) dst[i] = f32_to_f16_one(src[i]);
}

void bf16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) dst[i] = bf16_to_f32_one(src[i]);
}

void f16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) dst[i] = f16_to_f32_one(src[i]);
}

}  // namespace beacon::kernels::reference
