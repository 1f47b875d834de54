// Quantised weights as bytes, for vectors of one or two blocks.
#pragma once

#include "kernels/cpu/byte_weights.h"
#include "kernels/cpu/formats.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

typedef uint8_t B16 __attribute__((vector_size(16)));
typedef uint8_t B16Memory __attribute__((vector_size(16), aligned(1), may_alias));

BEACON_INLINE B16 load16(const uint8_t* p) { return *reinterpret_cast<const B16Memory*>(p); }

BEACON_INLINE VB join(const B16 (&parts)[kBlocks]) {
#if defined(__AVX2__)
  return (VB)_mm256_set_m128i((__m128i)parts[1], (__m128i)parts[0]);
#else
  return parts[0];
#endif
}

// 16 in byte i where bit i is set.
BEACON_INLINE B16 fifth_bits(uint32_t bits) {
  typedef uint64_t U2 __attribute__((vector_size(16)));
  constexpr uint64_t kEveryByte = 0x0101010101010101U;
  const B16 own = reinterpret_cast<B16>(U2{0x8040201008040201U, 0x8040201008040201U});
  const B16 spread = reinterpret_cast<B16>(U2{(bits & 255U) * kEveryByte, (bits >> 8 & 255U) * kEveryByte});
  return reinterpret_cast<B16>((spread & own) == own) & 16;
}

// The scales of blocks that begin with one in f16, and the minima behind them.
template <typename Format, bool kPart>
BEACON_INLINE void load_scales(const uint8_t* block, int64_t block_bytes, int64_t count, ByteWeights& w) {
#if defined(__AVX2__)
  // Both of both blocks are converted at once.
  __m128i halves = _mm_loadu_si32(block);
  if (!kPart || count > 1) {
    int32_t second = 0;
    __builtin_memcpy(&second, block + block_bytes, sizeof second);
    halves = _mm_insert_epi32(halves, second, 1);
  }
  const __m256 values = _mm256_castps128_ps256(_mm_cvtph_ps(halves));
  w.scale = (VF)_mm256_permutevar8x32_ps(values, _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2));
  if constexpr (Format::kHasMinimum)
    w.minimum = (VF)_mm256_permutevar8x32_ps(values, _mm256_setr_epi32(1, 1, 1, 1, 3, 3, 3, 3));
#else
  (void)block_bytes;
  (void)count;
  w.scale = broadcast(f16_at(block));
  if constexpr (Format::kHasMinimum) w.minimum = broadcast(f16_at(block + 2));
#endif
}

template <int kBytes, int kNibblesAt, int kFifthAt, typename Format>
struct NarrowNibbles : Format {
  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t count, ByteWeights& w) {
    const uint8_t* block = row + kBytes * b;
    B16 nibbles[kBlocks] = {}, fifth_first[kBlocks] = {}, fifth_second[kBlocks] = {};
    BEACON_UNROLL
    for (int i = 0; i < kBlocks; ++i) {
      if (kPart && i >= count) break;
      nibbles[i] = load16(block + kBytes * i + kNibblesAt);
      if constexpr (kFifthAt > 0) {
        const uint32_t bits = fifth_bits_at(block + kBytes * i + kFifthAt).all;
        fifth_first[i] = fifth_bits(bits);
        fifth_second[i] = fifth_bits(bits >> 16);
      }
    }
    const VB all = join(nibbles);
    w.first = all & 15;
    w.second = all >> 4;
    if constexpr (kFifthAt > 0) {
      w.first |= join(fifth_first);
      w.second |= join(fifth_second);
    }
    load_scales<Format, kPart>(block, kBytes, count, w);
  }
};

struct BytesQ8_0 : BytesOfQ8_0 {
  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t count, ByteWeights& w) {
    const uint8_t* block = row + 34 * b;
    B16 first[kBlocks] = {}, second[kBlocks] = {};
    BEACON_UNROLL
    for (int i = 0; i < kBlocks; ++i) {
      if (kPart && i >= count) break;
      first[i] = load16(block + 34 * i + 2);
      second[i] = load16(block + 34 * i + 18);
    }
    w.first = join(first);
    w.second = join(second);
    load_scales<BytesOfQ8_0, kPart>(block, 34, count, w);
  }
};

typedef NarrowNibbles<18, 2, 0, ByteFormat<72, 8>> BytesQ4_0;
typedef NarrowNibbles<20, 4, 0, ByteFormat<80, 0, true>> BytesQ4_1;
typedef NarrowNibbles<22, 6, 2, ByteFormat<88, 16>> BytesQ5_0;
typedef NarrowNibbles<24, 8, 4, ByteFormat<96, 0, true>> BytesQ5_1;

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
