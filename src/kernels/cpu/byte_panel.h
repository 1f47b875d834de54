// Quantised weights of 16 outputs side by side, as products of unsigned with signed bytes (VNNI) take them.
#pragma once

#include "kernels/cpu/byte_formats.h"

#if defined(__AVX512VNNI__)

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

constexpr int kBlocksOfPanel = 24;  // of 32 inputs, unpacked at a time: 14 KB
constexpr int kBlockWords = 8;      // of four inputs, in a block

// Blocks of 16 outputs, an output a lane.
struct BytePanel {
  __m512i words[kBlocksOfPanel][kBlockWords];  // four neighbouring weights of each output
  VF scale[2][kBlocksOfPanel];                 // [1]: of the second half of a block, where a format has two
  VF minimum[kBlocksOfPanel];
};

// Where the outputs of a panel lie.
struct PanelRows {
  const uint8_t* at[kLanes];
  int64_t to_next;  // bytes from here to the panel that follows
};

// Of every 16 bytes: vector i becomes the words i of all four.
BEACON_INLINE void transpose_words(__m512i (&v)[4]) {
  const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpackhi_epi32(v[0], v[1]);
  const __m512i c = _mm512_unpacklo_epi32(v[2], v[3]), d = _mm512_unpackhi_epi32(v[2], v[3]);
  v[0] = _mm512_unpacklo_epi64(a, c);
  v[1] = _mm512_unpackhi_epi64(a, c);
  v[2] = _mm512_unpacklo_epi64(b, d);
  v[3] = _mm512_unpackhi_epi64(b, d);
}

// Vector i becomes the quarters i of all four.
BEACON_INLINE void transpose_quarters(__m512i (&v)[4]) {
  const __m512i a = _mm512_shuffle_i32x4(v[0], v[1], 0x44), b = _mm512_shuffle_i32x4(v[0], v[1], 0xEE);
  const __m512i c = _mm512_shuffle_i32x4(v[2], v[3], 0x44), d = _mm512_shuffle_i32x4(v[2], v[3], 0xEE);
  v[0] = _mm512_shuffle_i32x4(a, c, 0x88);
  v[1] = _mm512_shuffle_i32x4(a, c, 0xDD);
  v[2] = _mm512_shuffle_i32x4(b, d, 0x88);
  v[3] = _mm512_shuffle_i32x4(b, d, 0xDD);
}

// The 16 bytes at `at` of outputs 4 q + j, in quarter q of vector j.
BEACON_INLINE void load_quarters(const PanelRows& rows, int64_t at, __m512i (&v)[4]) {
  const auto bytes = [&](int o) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows.at[o] + at));
  };
  BEACON_UNROLL
  for (int j = 0; j < 4; ++j) {
    v[j] = _mm512_castsi128_si512(bytes(j));
    v[j] = _mm512_mask_broadcast_i32x4(v[j], 0x00F0, bytes(4 + j));
    v[j] = _mm512_mask_broadcast_i32x4(v[j], 0x0F00, bytes(8 + j));
    v[j] = _mm512_mask_broadcast_i32x4(v[j], 0xF000, bytes(12 + j));
  }
}

// The four bytes at `at` of every output.
BEACON_INLINE __m512i load_words_at(const PanelRows& rows, int64_t at) {
  __m512i v = _mm512_setzero_si512();
  BEACON_UNROLL
  for (int o = 0; o < kLanes; ++o) {
    v = _mm512_mask_broadcastd_epi32(v, static_cast<__mmask16>(1U << o), _mm_loadu_si32(rows.at[o] + at));
  }
  return v;
}

// f16 numbers in the lower halves of 32 bits.
BEACON_INLINE VF widen_f16(__m512i words) { return (VF)_mm512_cvtph_ps(_mm512_cvtepi32_epi16(words)); }

// Sixteen to the bytes whose bit is set: byte i of a lane has bit kFirst + i of the lane.
template <int kFirst>
BEACON_INLINE __m512i fifth_of_word(__m512i bits) {
  constexpr int kByte = kFirst / 8;
  const __m512i spread = _mm512_shuffle_epi8(
      bits, _mm512_broadcast_i32x4(_mm_set_epi32((12 + kByte) * 0x01010101, (8 + kByte) * 0x01010101,
                                                 (4 + kByte) * 0x01010101, kByte * 0x01010101)));
  const __m512i own = _mm512_set1_epi32(kFirst % 8 == 0 ? 0x08040201 : static_cast<int32_t>(0x80402010U));
  return _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(spread, own), _mm512_set1_epi8(16));
}

// Block b of every output, of a format whose blocks of 32 lie one behind the other, to block k of the panel.
template <int kBytes, int kNibbles, int kBits, typename Format>
BEACON_INLINE void unpack_block(WideNibbles<kBytes, kNibbles, kBits, Format> /*format*/,
                                const PanelRows& rows, int64_t b, BytePanel& panel, int64_t k) {
  __m512i nibbles[4];
  load_quarters(rows, kBytes * b + kNibbles, nibbles);
  transpose_words(nibbles);
  __m512i* words = panel.words[k];
  BEACON_UNROLL
  for (int word = 0; word < 4; ++word) {
    words[word] = low_nibbles(nibbles[word]);
    words[4 + word] = high_nibbles(nibbles[word]);
  }
  if constexpr (kBits != 0) {
    const __m512i bits = load_words_at(rows, kBytes * b + kBits);
    words[0] = _mm512_or_si512(words[0], fifth_of_word<0>(bits));
    words[1] = _mm512_or_si512(words[1], fifth_of_word<4>(bits));
    words[2] = _mm512_or_si512(words[2], fifth_of_word<8>(bits));
    words[3] = _mm512_or_si512(words[3], fifth_of_word<12>(bits));
    words[4] = _mm512_or_si512(words[4], fifth_of_word<16>(bits));
    words[5] = _mm512_or_si512(words[5], fifth_of_word<20>(bits));
    words[6] = _mm512_or_si512(words[6], fifth_of_word<24>(bits));
    words[7] = _mm512_or_si512(words[7], fifth_of_word<28>(bits));
  }
  const __m512i scales = load_words_at(rows, kBytes * b);
  panel.scale[0][k] = widen_f16(scales);
  if constexpr (Format::kHasMinimum) panel.minimum[k] = widen_f16(_mm512_srli_epi32(scales, 16));
}

BEACON_INLINE void unpack_block(BytesQ8_0 /*format*/, const PanelRows& rows, int64_t b, BytePanel& panel,
                                int64_t k) {
  const __m512i to_unsigned = _mm512_set1_epi8(-128);
  for (int half = 0; half < 2; ++half) {
    __m512i bytes[4];
    load_quarters(rows, 34 * b + 2 + 16 * half, bytes);
    transpose_words(bytes);
    BEACON_UNROLL
    for (int word = 0; word < 4; ++word)
      panel.words[k][4 * half + word] = _mm512_xor_si512(bytes[word], to_unsigned);
  }
  panel.scale[0][k] = widen_f16(load_words_at(rows, 34 * b));
}

// Lane j of every quarter from vector j: what is the same four times over, of four outputs.
BEACON_INLINE __m512i by_turns(VF a, VF b, VF c, VF d) {
  const __m512 ab = _mm512_mask_blend_ps(0x2222, (__m512)a, (__m512)b);
  const __m512 cd = _mm512_mask_blend_ps(0x8888, (__m512)c, (__m512)d);
  return (__m512i)_mm512_mask_blend_ps(0xCCCC, ab, cd);
}

// Blocks [b, b + kBlocks) of every output, of any format whose rows have no other number of them, to those of
// the panel from k on.
template <typename Format>
BEACON_INLINE void unpack_blocks(const PanelRows& rows, int64_t b, BytePanel& panel, int64_t k) {
  __m512i words[kBlockWords][4], scale[4], second_scale[4], minimum[4];
  BEACON_UNROLL
  for (int quarter = 0; quarter < 4; ++quarter) {
    ByteWeights w[4];
    __m512i first[4], second[4];
    BEACON_UNROLL
    for (int j = 0; j < 4; ++j) {
      Format::template load<false>(rows.at[4 * quarter + j], b, kBlocks, w[j]);
      first[j] = (__m512i)w[j].first;
      second[j] = (__m512i)w[j].second;
    }
    transpose_words(first);
    transpose_words(second);
    BEACON_UNROLL
    for (int j = 0; j < 4; ++j) {
      words[j][quarter] = first[j];
      words[4 + j][quarter] = second[j];
    }
    scale[quarter] = by_turns(w[0].scale, w[1].scale, w[2].scale, w[3].scale);
    if constexpr (Format::kTwoScales)
      second_scale[quarter] =
          by_turns(w[0].scale_second, w[1].scale_second, w[2].scale_second, w[3].scale_second);
    if constexpr (Format::kHasMinimum)
      minimum[quarter] = by_turns(w[0].minimum, w[1].minimum, w[2].minimum, w[3].minimum);
  }
  BEACON_UNROLL
  for (int word = 0; word < kBlockWords; ++word) {
    transpose_quarters(words[word]);
    BEACON_UNROLL
    for (int i = 0; i < kBlocks; ++i) panel.words[k + i][word] = words[word][i];
  }
  const auto place = [k](__m512i(&values)[4], VF* to) {
    transpose_quarters(values);
    BEACON_UNROLL
    for (int i = 0; i < kBlocks; ++i) to[k + i] = (VF)values[i];
  };
  place(scale, panel.scale[0]);
  if constexpr (Format::kTwoScales) place(second_scale, panel.scale[1]);
  if constexpr (Format::kHasMinimum) place(minimum, panel.minimum);
}

// Blocks [begin, end) of every output. begin a multiple of kBlocks, at most kBlocksOfPanel of them.
template <typename Format>
__attribute__((noinline)) void unpack_byte_panel(const PanelRows& rows, int64_t begin, int64_t end,
                                                 BytePanel& panel) {
  for (int64_t b = begin; b < end; b += kBlocks) {
    const int64_t k = b - begin, there = end - b < kBlocks ? end - b : kBlocks;
    if constexpr (Format::kBlockBytes != 0) {
      for (int64_t i = 0; i < there; ++i) unpack_block(Format(), rows, b + i, panel, k + i);
    } else {
      unpack_blocks<Format>(rows, b, panel, k);
    }
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE

#endif  // __AVX512VNNI__
