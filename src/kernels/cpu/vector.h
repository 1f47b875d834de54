// Vectors of one machine register through the GCC vector extensions, for the files of this folder only.
// Everything has internal linkage, because the same code is compiled once per instruction set into one
// program.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if !defined(BEACON_CPU_NAMESPACE)
#error "This file belongs to a per-ISA build, which names its namespace in BEACON_CPU_NAMESPACE."
#endif

#define BEACON_INLINE inline __attribute__((always_inline))
#if defined(__clang__)
#define BEACON_UNROLL _Pragma("unroll")
#else
#define BEACON_UNROLL _Pragma("GCC unroll 16")
#endif

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float VF __attribute__((vector_size(4 * kLanes)));
typedef int32_t VI __attribute__((vector_size(4 * kLanes)));
typedef uint32_t VU __attribute__((vector_size(4 * kLanes)));
typedef uint16_t VH __attribute__((vector_size(2 * kLanes)));
typedef float F4 __attribute__((vector_size(16)));

// The same for memory of any alignment and any declared type.
typedef float VFMemory __attribute__((vector_size(4 * kLanes), aligned(1), may_alias));
typedef uint16_t VHMemory __attribute__((vector_size(2 * kLanes), aligned(1), may_alias));
typedef float F4Memory __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint8_t VBMemory __attribute__((vector_size(kLanes), aligned(1), may_alias));
typedef int8_t VCMemory __attribute__((vector_size(kLanes), aligned(1), may_alias));

BEACON_INLINE VF load(const void* p) { return *static_cast<const VFMemory*>(p); }
BEACON_INLINE void store(float* p, VF v) { *reinterpret_cast<VFMemory*>(p) = v; }
BEACON_INLINE VH load_half(const void* p) { return *static_cast<const VHMemory*>(p); }
BEACON_INLINE void store_half(uint16_t* p, VH v) { *reinterpret_cast<VHMemory*>(p) = v; }

// x - 0 is x for every x, the negative zero included, so this is one broadcast.
BEACON_INLINE VF broadcast(float x) { return x - VF{}; }
BEACON_INLINE VI as_int(VF v) { return reinterpret_cast<VI>(v); }
BEACON_INLINE VU as_bits(VF v) { return reinterpret_cast<VU>(v); }
BEACON_INLINE VF as_float(VI v) { return reinterpret_cast<VF>(v); }
BEACON_INLINE VF as_float(VU v) { return reinterpret_cast<VF>(v); }
BEACON_INLINE VF to_float(VI v) { return __builtin_convertvector(v, VF); }

// Keeps the compiler from reading the value from memory once more at each use.
BEACON_INLINE void keep_in_register(VI& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__x86_64__)
  asm("" : "+x"(v));
#else
  (void)v;
#endif
}

// a where the mask (all bits or none) is set, else b.
BEACON_INLINE VF select(VI mask, VF a, VF b) { return as_float((mask & as_int(a)) | (~mask & as_int(b))); }
BEACON_INLINE VU select(VI mask, VU a, VU b) {
  return (reinterpret_cast<VU>(mask) & a) | (~reinterpret_cast<VU>(mask) & b);
}
// Written as one comparison and one choice so that it is one instruction; b when either is NaN.
BEACON_INLINE VF larger(VF a, VF b) { return a > b ? a : b; }
BEACON_INLINE VF smaller(VF a, VF b) { return a < b ? a : b; }

// Fused where the instruction set has it (-ffp-contract=fast).
BEACON_INLINE VF multiply_add(VF a, VF b, VF c) { return a * b + c; }

// The first n (< kLanes) floats; the others are `fill`. Nothing behind the n is touched.
BEACON_INLINE VF load_part(const float* p, int64_t n, float fill) {
#if defined(__AVX512F__)
  return (VF)_mm512_mask_loadu_ps((__m512)broadcast(fill), static_cast<__mmask16>((1U << n) - 1U), p);
#else
  float lanes[kLanes];
  for (int i = 0; i < kLanes; ++i) lanes[i] = fill;
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return load(lanes);
#endif
}
BEACON_INLINE void store_part(float* p, VF v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1U << n) - 1U), (__m512)v);
#else
  for (int64_t i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// kLanes bytes as integers.
BEACON_INLINE VI widen_u8(const uint8_t* p) {
#if defined(__AVX512F__)
  return (VI)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (VI)_mm256_cvtepu8_epi32(_mm_loadu_si64(p));
#elif defined(__SSE4_1__)
  return (VI)_mm_cvtepu8_epi32(_mm_loadu_si32(p));
#else
  return __builtin_convertvector(*reinterpret_cast<const VBMemory*>(p), VI);
#endif
}

BEACON_INLINE VI widen_s8(const uint8_t* p) {
#if defined(__AVX512F__)
  return (VI)_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (VI)_mm256_cvtepi8_epi32(_mm_loadu_si64(p));
#elif defined(__SSE4_1__)
  return (VI)_mm_cvtepi8_epi32(_mm_loadu_si32(p));
#else
  return __builtin_convertvector(*reinterpret_cast<const VCMemory*>(p), VI);
#endif
}

// The four neighbouring lanes starting at 4 * I.
template <int I>
BEACON_INLINE F4 quarter(VF v) {
  return __builtin_shufflevector(v, v, 4 * I, 4 * I + 1, 4 * I + 2, 4 * I + 3);
}

BEACON_INLINE F4 fold_sum(VF v) {
#if defined(__AVX512F__)
  return (quarter<0>(v) + quarter<2>(v)) + (quarter<1>(v) + quarter<3>(v));
#elif defined(__AVX2__)
  return quarter<0>(v) + quarter<1>(v);
#else
  return v;
#endif
}

BEACON_INLINE float sum_lanes(VF v) {
  const F4 s = fold_sum(v);
  return (s[0] + s[2]) + (s[1] + s[3]);
}

// {sum of a, sum of b, sum of c, sum of d}.
BEACON_INLINE F4 sum_lanes(VF a, VF b, VF c, VF d) {
  const F4 fa = fold_sum(a);
  const F4 fb = fold_sum(b);
  const F4 fc = fold_sum(c);
  const F4 fd = fold_sum(d);
  const F4 ab = __builtin_shufflevector(fa, fb, 0, 4, 1, 5) + __builtin_shufflevector(fa, fb, 2, 6, 3, 7);
  const F4 cd = __builtin_shufflevector(fc, fd, 0, 4, 1, 5) + __builtin_shufflevector(fc, fd, 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

BEACON_INLINE float largest_lane(VF v) {
#if defined(__AVX512F__)
  const F4 a = quarter<0>(v) > quarter<1>(v) ? quarter<0>(v) : quarter<1>(v);
  const F4 b = quarter<2>(v) > quarter<3>(v) ? quarter<2>(v) : quarter<3>(v);
  const F4 m = a > b ? a : b;
#elif defined(__AVX2__)
  const F4 m = quarter<0>(v) > quarter<1>(v) ? quarter<0>(v) : quarter<1>(v);
#else
  const F4 m = v;
#endif
  const float low = m[0] > m[2] ? m[0] : m[2];
  const float high = m[1] > m[3] ? m[1] : m[3];
  return low > high ? low : high;
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
