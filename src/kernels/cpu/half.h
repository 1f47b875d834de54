// bf16 and f16 in vectors.
#pragma once

#include "kernels/cpu/vector.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

BEACON_INLINE VF bf16_to_float(VH h) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  // GCC 12 widens in two halves and joins them again.
  return as_float((VU)_mm256_cvtepu16_epi32((__m128i)h) << 16);
#else
  return as_float(__builtin_convertvector(h, VU) << 16);
#endif
}

BEACON_INLINE VH float_to_bf16(VF v) {
  const VU bits = as_bits(v);
  const VU rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  // Rounding a NaN could carry into infinity.
  const VU quiet = (bits >> 16) | 0x40U;
  return __builtin_convertvector(select(v != v, quiet, rounded), VH);
}

BEACON_INLINE VF f16_to_float(VH h) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps((__m256i)h);
#elif defined(__F16C__)
  return _mm256_cvtph_ps((__m128i)h);
#else
  const VU bits = __builtin_convertvector(h, VU);
  const VU magnitude = bits & 0x7FFFU;
  const VU moved = magnitude << 13;
  const VU normal = moved + (112U << 23);
  const VU special = moved + (224U << 23);
  // A subnormal is its fraction times 2^-24: put it under the exponent of 2^-14 and take that away again.
  const VU subnormal = as_bits(as_float(moved + (113U << 23)) - as_float(VU{} + (113U << 23)));
  VU result = select(magnitude < 0x400U, subnormal, normal);
  result = select(magnitude >= 0x7C00U, special, result);
  return as_float(result | ((bits & 0x8000U) << 16));
#endif
}

BEACON_INLINE VH float_to_f16(VF v) {
#if defined(__AVX512F__)
  return (VH)_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__F16C__)
  return (VH)_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  const VU bits = as_bits(v);
  const VU magnitude = bits & 0x7FFFFFFFU;
  const VU normal = (magnitude + 0xFFFU + ((magnitude >> 13) & 1U) - (112U << 23)) >> 13;
  // One half has a unit in the last place of 2^-24, so adding it rounds to a multiple of the smallest
  // subnormal.
  const VU subnormal = as_bits(as_float(magnitude) + 0.5F) - as_bits(broadcast(0.5F));
  const VU quiet = 0x7E00U | ((bits >> 13) & 0x1FFU);
  VU result = select(magnitude < (113U << 23), subnormal, normal);
  result = select(magnitude >= 0x477FF000U, VU{} + 0x7C00U, result);
  result = select(v != v, quiet, result);
  return __builtin_convertvector(result | ((bits >> 16) & 0x8000U), VH);
#endif
}

// One f16 in memory.
BEACON_INLINE float f16_at(const uint8_t* p) {
  uint16_t bits = 0;
  __builtin_memcpy(&bits, p, sizeof bits);
#if defined(__F16C__)
  return _cvtsh_ss(bits);
#else
  VH h = {};
  h[0] = bits;
  return f16_to_float(h)[0];
#endif
}

BEACON_INLINE float bf16_at(const uint8_t* p) {
  uint16_t half = 0;
  __builtin_memcpy(&half, p, sizeof half);
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value = 0;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
