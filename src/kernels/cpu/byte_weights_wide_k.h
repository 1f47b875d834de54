// The K kinds of GGUF as bytes, four blocks (half a super-block) in a vector of AVX-512.
#pragma once

#include "kernels/cpu/byte_weights_wide.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

BEACON_INLINE uint32_t word_at(const uint8_t* p) {
  uint32_t word = 0;
  __builtin_memcpy(&word, p, sizeof word);
  return word;
}

// Lane l: byte (l / 4) * kStep + kFirst of the vector, as a float.
template <bool kSigned, int kStep = 1, int kFirst = 0>
BEACON_INLINE __m512 spread_bytes(__m128i bytes) {
  constexpr int kA = kFirst * 0x01010101, kB = kA + kStep * 0x01010101, kC = kB + kStep * 0x01010101,
                kD = kC + kStep * 0x01010101;
  const __m128i spread = _mm_shuffle_epi8(bytes, _mm_set_epi32(kD, kC, kB, kA));
  return _mm512_cvtepi32_ps(kSigned ? _mm512_cvtepi8_epi32(spread) : _mm512_cvtepu8_epi32(spread));
}

// The 6-bit scales and minima of the four blocks of a half, spread over 12 bytes.
BEACON_INLINE void load_k_scales4(const uint8_t* block, bool second_half, ByteWeights& w) {
  const uint32_t a = word_at(block + 4);
  const uint32_t b = word_at(block + 8);
  const uint32_t c = word_at(block + 12);
  const uint32_t scales = second_half ? (c & 0x0F0F0F0FU) | ((a >> 2) & 0x30303030U) : a & 0x3F3F3F3FU;
  const uint32_t minima = second_half ? ((c >> 4) & 0x0F0F0F0FU) | ((b >> 2) & 0x30303030U) : b & 0x3F3F3F3FU;
  const __m512 scale = spread_bytes<false>(_mm_cvtsi32_si128(static_cast<int>(scales)));
  const __m512 minimum = spread_bytes<false>(_mm_cvtsi32_si128(static_cast<int>(minima)));
  w.scale = (VF)scale * broadcast(f16_at(block));
  w.minimum = (VF)minimum * broadcast(-f16_at(block + 2));
}

// 64 nibble bytes: of every 32 the low halves are one block and the high halves the next one.
BEACON_INLINE void pick_k_nibbles(const uint8_t* p, ByteWeights& w) {
  const __m512i bytes = _mm512_loadu_si512(p);
  const __m512i shifts = by_lane(0, 4 * kEveryWord, 0, 4 * kEveryWord);
  w.first = (VB)low_nibbles(_mm512_srlv_epi16(_mm512_shuffle_i32x4(bytes, bytes, 0xA0), shifts));
  w.second = (VB)low_nibbles(_mm512_srlv_epi16(_mm512_shuffle_i32x4(bytes, bytes, 0xF5), shifts));
}

BEACON_INLINE __m512i four_times(const uint8_t* p) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

struct BytesQ4_K : ByteFormat<72, 0, true> {
  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t /*count*/, ByteWeights& w) {
    const uint8_t* block = row + 144 * (b / 8);
    load_k_scales4(block, b % 8 != 0, w);
    pick_k_nibbles(block + 16 + 16 * (b % 8), w);
  }
};

struct BytesQ5_K : ByteFormat<88, 0, true> {
  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t /*count*/, ByteWeights& w) {
    const uint8_t* block = row + 176 * (b / 8);
    load_k_scales4(block, b % 8 != 0, w);
    pick_k_nibbles(block + 48 + 16 * (b % 8), w);
    // Block i of the half has bit i, or 4 + i, of every byte.
    const __m512i bits = by_lane(kEveryByte, 2 * kEveryByte, 4 * kEveryByte, 8 * kEveryByte);
    const __m512i own = _mm512_sll_epi16(bits, _mm_cvtsi64_si128(b % 8));
    const __m512i fifth = _mm512_set1_epi8(16);
    const __mmask64 low = _mm512_test_epi8_mask(four_times(block + 16), own);
    const __mmask64 high = _mm512_test_epi8_mask(four_times(block + 32), own);
    w.first |= (VB)_mm512_maskz_mov_epi8(low, fifth);
    w.second |= (VB)_mm512_maskz_mov_epi8(high, fifth);
  }
};

struct BytesQ6_K : ByteFormat<105, 32, false, true> {
  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t /*count*/, ByteWeights& w) {
    const uint8_t* block = row + 210 * (b / 8);
    const __m512i bytes = _mm512_loadu_si512(block + 16 * (b % 8));
    const uint8_t* top = block + 128 + 8 * (b % 8);
    w.first = (VB)with_top(_mm512_shuffle_i32x4(bytes, bytes, 0x88), four_times(top));
    w.second = (VB)with_top(_mm512_shuffle_i32x4(bytes, bytes, 0xDD), four_times(top + 16));
    const __m128i scales = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + 192 + 2 * (b % 8)));
    const VF scale = broadcast(f16_at(block + 208));
    w.scale = scale * (VF)spread_bytes<true, 2, 0>(scales);
    w.scale_second = scale * (VF)spread_bytes<true, 2, 1>(scales);
  }

 private:
  // Blocks 0 and 1 of a half have the low nibbles, 2 and 3 the high ones; block i has bits 2 i of the tops.
  static BEACON_INLINE __m512i with_top(__m512i nibbles, __m512i top) {
    const __m512i down = by_lane(0, 0, 4 * kEveryWord, 4 * kEveryWord);
    const __m512i bits = by_lane(0, 2 * kEveryWord, 4 * kEveryWord, 6 * kEveryWord);
    const __m512i two = _mm512_and_si512(_mm512_srlv_epi16(top, bits), _mm512_set1_epi8(3));
    return _mm512_or_si512(low_nibbles(_mm512_srlv_epi16(nibbles, down)), _mm512_slli_epi16(two, 4));
  }
};

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
