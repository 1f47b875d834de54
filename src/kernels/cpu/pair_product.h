// Products of pairs of 16-bit integers.
#pragma once

#include "kernels/cpu/vector.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// sum + the products of both halves of every lane.
BEACON_INLINE VI add_pairs(VI sum, VI a, VI b) {
#if defined(__AVX512VNNI__)
  return (VI)_mm512_dpwssd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#elif defined(__AVX512BW__)
  return sum + (VI)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  return sum + (VI)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
  return sum + (VI)_mm_madd_epi16((__m128i)a, (__m128i)b);
#else
  return sum + ((a << 16) >> 16) * ((b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
