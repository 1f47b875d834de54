// The K formats as bytes, for vectors of one or two blocks. Their rows are whole numbers of eight blocks, so
// there are no parts of a vector.
#pragma once

#include "kernels/cpu/byte_weights_narrow.h"
#include "kernels/cpu/k_formats.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

#if defined(__AVX2__)
// Blocks b and b + 1, b even.

// Lanes `low` of the first block, `high` of the second.
template <int kLow, int kHigh>
BEACON_INLINE VF spread_pair(__m128 values) {
  return (VF)_mm256_permutevar8x32_ps(_mm256_castps128_ps256(values),
                                      _mm256_setr_epi32(kLow, kLow, kLow, kLow, kHigh, kHigh, kHigh, kHigh));
}

BEACON_INLINE uint32_t word_at(const uint8_t* p) {
  uint32_t word = 0;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

// Q4_K and Q5_K begin with two f16 and twelve bytes that hold eight scales and eight minima of 6 bits.
BEACON_INLINE void load_k_scales(const uint8_t* block, int64_t sub, ByteWeights& w) {
  const uint8_t* packed = block + 4;
  uint32_t scales = 0;
  uint32_t minima = 0;
  if (sub < 4) {
    scales = word_at(packed) & 0x3F3F3F3FU;
    minima = word_at(packed + 4) & 0x3F3F3F3FU;
  } else {
    const uint32_t low = word_at(packed + 8);
    scales = (low & 0x0F0F0F0FU) | (word_at(packed) >> 2 & 0x30303030U);
    minima = (low >> 4 & 0x0F0F0F0FU) | (word_at(packed + 4) >> 2 & 0x30303030U);
  }
  const auto shift = static_cast<uint32_t>(8 * (sub % 4));
  const uint32_t bytes = (scales >> shift & 0xFFFFU) | (minima >> shift << 16);
  const __m128 numbers = _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_cvtsi32_si128(static_cast<int>(bytes))));
  const __m128 factors = _mm_cvtph_ps(_mm_cvtsi32_si128(static_cast<int>(word_at(block))));
  const __m128 values = _mm_mul_ps(numbers, _mm_shuffle_ps(factors, factors, 0x50));
  w.scale = spread_pair<0, 1>(values);
  w.minimum = -spread_pair<2, 3>(values);
}

BEACON_INLINE void load_k_nibbles(const uint8_t* nibbles, int64_t /*sub*/, ByteWeights& w) {
  const B16 first = load16(nibbles);
  const B16 second = load16(nibbles + 16);
  w.first = join({first & 15, first >> 4});
  w.second = join({second & 15, second >> 4});
}

// 16 in every byte of `tops` that has the bit of its block.
BEACON_INLINE VB fifth_of_k(const uint8_t* tops, int64_t sub) {
  const auto bit = static_cast<uint8_t>(1U << sub);
  const B16 zero = {};
  const VB own = join({zero + bit, zero + static_cast<uint8_t>(2 * bit)});
  const B16 both = load16(tops);
  return reinterpret_cast<VB>((join({both, both}) & own) == own) & 16;
}

BEACON_INLINE void load_q6_k(const uint8_t* block, int64_t sub, ByteWeights& w) {
  const int64_t half = sub / 4;
  const int upper = static_cast<int>(sub % 4 / 2);  // quarters 2 and 3 have the upper nibbles
  const uint8_t* nibbles = block + 64 * half;
  const uint8_t* tops = block + 128 + 32 * half;
  const __m256i shifts = _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2) + _mm256_set1_epi32(4 * upper);
  const auto bytes = [&](int at) {
    const auto low = (__m256i)join({load16(nibbles + at), load16(nibbles + 32 + at)});
    const B16 top = load16(tops + at);
    // What a shift brings over from the next byte is masked away.
    const __m256i four = _mm256_srl_epi16(low, _mm_cvtsi32_si128(4 * upper));
    const __m256i two = _mm256_srlv_epi32((__m256i)join({top, top}), shifts);
    return ((VB)four & 15) | (((VB)two & 3) << 4);
  };
  w.first = bytes(0);
  w.second = bytes(16);
  const int scales = static_cast<int>(word_at(block + 192 + 2 * sub));
  const __m128 values = _mm_mul_ps(_mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(scales))),
                                   _mm_set1_ps(f16_at(block + 208)));
  w.scale = spread_pair<0, 2>(values);
  w.scale_second = spread_pair<1, 3>(values);
}
#else
// One block.

BEACON_INLINE void load_k_scales(const uint8_t* block, int64_t sub, ByteWeights& w) {
  Piece piece;
  load_k_scales(block, sub, piece);
  w.scale = broadcast(piece.scale);
  w.minimum = broadcast(piece.minimum);
}

BEACON_INLINE B16 nibbles_at(const uint8_t* p, bool upper) { return upper ? load16(p) >> 4 : load16(p) & 15; }

BEACON_INLINE void load_k_nibbles(const uint8_t* nibbles, int64_t sub, ByteWeights& w) {
  w.first = nibbles_at(nibbles, sub % 2 != 0);
  w.second = nibbles_at(nibbles + 16, sub % 2 != 0);
}

BEACON_INLINE VB fifth_of_k(const uint8_t* tops, int64_t sub) {
  return ((load16(tops) >> static_cast<uint8_t>(sub)) & 1) << 4;
}

BEACON_INLINE void load_q6_k(const uint8_t* block, int64_t sub, ByteWeights& w) {
  const int64_t half = sub / 4;
  const int64_t quarter = sub % 4;
  const uint8_t* nibbles = block + 64 * half + 32 * (quarter % 2);
  const uint8_t* tops = block + 128 + 32 * half;
  const auto bytes = [&](int at) {
    const B16 two = (load16(tops + at) >> static_cast<uint8_t>(2 * quarter)) & 3;
    return nibbles_at(nibbles + at, quarter >= 2) | (two << 4);
  };
  w.first = bytes(0);
  w.second = bytes(16);
  const auto* scales = reinterpret_cast<const int8_t*>(block + 192 + 2 * sub);
  w.scale = broadcast(f16_at(block + 208) * static_cast<float>(scales[0]));
  w.scale_second = broadcast(f16_at(block + 208) * static_cast<float>(scales[1]));
}
#endif

struct BytesQ4_K : ByteFormat<72, 0, true> {
  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t /*count*/, ByteWeights& w) {
    const uint8_t* block = row + 144 * (b / 8);
    load_k_scales(block, b % 8, w);
    load_k_nibbles(block + 16 + 32 * (b % 8 / 2), b % 8, w);
  }
};

struct BytesQ5_K : ByteFormat<88, 0, true> {
  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t /*count*/, ByteWeights& w) {
    const uint8_t* block = row + 176 * (b / 8);
    load_k_scales(block, b % 8, w);
    load_k_nibbles(block + 48 + 32 * (b % 8 / 2), b % 8, w);
    w.first |= fifth_of_k(block + 16, b % 8);
    w.second |= fifth_of_k(block + 32, b % 8);
  }
};

struct BytesQ6_K : ByteFormat<105, 32, false, true> {
  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t /*count*/, ByteWeights& w) {
    load_q6_k(row + 210 * (b / 8), b % 8, w);
  }
};

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
