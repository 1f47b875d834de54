// Quantised weights as bytes, four blocks in a vector of AVX-512: one or two loads, then permutations of
// 16-bit words, since every field of every format begins at an even byte.
#pragma once

#include "kernels/cpu/byte_weights.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// Indexes of 32 words into two vectors, the second one's from 32 on.
struct WordTable {
  uint16_t at[32];
};

BEACON_INLINE __m512i pick_words(const WordTable& table, __m512i first, __m512i second) {
  return _mm512_permutex2var_epi16(first, _mm512_loadu_si512(table.at), second);
}

// 32 words from word `start` on of a group of blocks; kPart: it ends behind `words`, and zeros follow.
template <bool kPart>
BEACON_INLINE __m512i load_words(const uint8_t* group, int64_t start, int64_t words) {
  if constexpr (!kPart) return _mm512_loadu_si512(group + 2 * start);
  const int64_t there = words - start;
  const uint32_t mask = there <= 0 ? 0U : there >= 32 ? ~0U : (1U << there) - 1U;
  return _mm512_maskz_loadu_epi16(mask, group + 2 * start);
}

// Where word w of four blocks is, when the first vector holds words 0..31 and the second one the last 32.
constexpr uint16_t word_of(int w, int block_bytes) {
  return static_cast<uint16_t>(w < 32 ? w : w - (2 * block_bytes - 32) + 32);
}

// The sixteen nibble bytes at byte `offset` of each of four blocks.
constexpr WordTable nibble_table(int block_bytes, int offset) {
  WordTable table{};
  for (int l = 0; l < 32; ++l) {
    table.at[l] = word_of(block_bytes / 2 * (l / 8) + offset / 2 + l % 8, block_bytes);
  }
  return table;
}

// The first word of each block four times, then the second word likewise.
constexpr WordTable scale_table(int block_bytes) {
  WordTable table{};
  for (int l = 0; l < 32; ++l) table.at[l] = word_of(block_bytes / 2 * (l % 16 / 4) + l / 16, block_bytes);
  return table;
}

// The two words of fifth bits at byte `offset` of each block, each four times.
constexpr WordTable bits_table(int block_bytes, int offset) {
  WordTable table{};
  for (int l = 0; l < 32; ++l) {
    table.at[l] = word_of(block_bytes / 2 * (l / 8) + offset / 2 + l % 8 / 4, block_bytes);
  }
  return table;
}

BEACON_INLINE __m512i low_nibbles(__m512i v) { return _mm512_and_si512(v, _mm512_set1_epi8(15)); }
BEACON_INLINE __m512i high_nibbles(__m512i v) { return low_nibbles(_mm512_srli_epi16(v, 4)); }

// The bytes of four sixteenths a, b, c, d of a vector.
BEACON_INLINE __m512i by_lane(int64_t a, int64_t b, int64_t c, int64_t d) {
  return _mm512_set_epi64(d, d, c, c, b, b, a, a);
}
constexpr int64_t kEveryByte = 0x0101010101010101;
constexpr int64_t kEveryWord = 0x0001000100010001;

// Adds 16 to the bytes whose bit is set: byte i of a lane has bit i % 8 of the lane's byte kFirst + i / 8.
template <int kFirst>
BEACON_INLINE __m512i add_fifth(__m512i nibbles, __m512i bits) {
  const __m512i spread = _mm512_shuffle_epi8(
      bits, _mm512_broadcast_i32x4(_mm_set_epi64x((kFirst + 1) * kEveryByte, kFirst * kEveryByte)));
  const __m512i own = _mm512_set1_epi64(static_cast<int64_t>(0x8040201008040201U));
  const __mmask64 set = _mm512_test_epi8_mask(spread, own);
  return _mm512_or_si512(nibbles, _mm512_maskz_mov_epi8(set, _mm512_set1_epi8(16)));
}

// Formats of blocks of 32 with nibbles. kBits: where the fifth bits are, 0 when there are none.
template <int kBytes, int kNibbles, int kBits, typename Format>
struct WideNibbles : Format {
  static_assert(kBytes >= 16 && kBytes <= 32);
  static constexpr int kBlockBytes = kBytes;
  static constexpr WordTable kNibbleWords = nibble_table(kBytes, kNibbles);
  static constexpr WordTable kScaleWords = scale_table(kBytes);
  static constexpr WordTable kBitWords = bits_table(kBytes, kBits);

  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t count, ByteWeights& w) {
    const uint8_t* group = row + kBytes * b;
    const int64_t words = kBytes / 2 * count;
    const __m512i first = load_words<kPart>(group, 0, words);
    const __m512i last = load_words<kPart>(group, 2 * kBytes - 32, words);
    const __m512i nibbles = pick_words(kNibbleWords, first, last);
    __m512i low = low_nibbles(nibbles);
    __m512i high = high_nibbles(nibbles);
    if constexpr (kBits != 0) {
      const __m512i bits = pick_words(kBitWords, first, last);
      low = add_fifth<0>(low, bits);
      high = add_fifth<8>(high, bits);
    }
    w.first = (VB)low;
    w.second = (VB)high;
    const __m512i scales = pick_words(kScaleWords, first, last);
    w.scale = (VF)_mm512_cvtph_ps(_mm512_castsi512_si256(scales));
    if constexpr (Format::kHasMinimum) w.minimum = (VF)_mm512_cvtph_ps(_mm512_extracti64x4_epi64(scales, 1));
  }
};

// The four blocks' words begin at 0, 17, 34 and 51.
constexpr WordTable q8_0_low_table() {
  WordTable table{};
  for (int l = 0; l < 32; ++l) table.at[l] = static_cast<uint16_t>(17 * (l / 8) + 1 + l % 8);
  return table;
}
constexpr WordTable q8_0_high_table() {  // of the words 9..40 and 36..67
  WordTable table{};
  for (int l = 0; l < 32; ++l) {
    const int w = 17 * (l / 8) + 9 + l % 8;
    table.at[l] = static_cast<uint16_t>(l < 16 ? w - 9 : w - 36 + 32);
  }
  return table;
}
constexpr WordTable q8_0_scale_table() {
  WordTable table{};
  for (int l = 0; l < 32; ++l) table.at[l] = static_cast<uint16_t>(17 * (l % 16 / 4));
  return table;
}

struct BytesQ8_0 : BytesOfQ8_0 {
  static constexpr int kBlockBytes = 34;
  static constexpr WordTable kLow = q8_0_low_table(), kHigh = q8_0_high_table(), kScales = q8_0_scale_table();

  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t count, ByteWeights& w) {
    const uint8_t* group = row + 34 * b;
    const int64_t words = 17 * count;
    const __m512i first = load_words<kPart>(group, 0, words);
    const __m512i second = load_words<kPart>(group, 32, words);
    __m512i low = pick_words(kLow, first, second);
    __m512i high = pick_words(kHigh, load_words<kPart>(group, 9, words), load_words<kPart>(group, 36, words));
    if constexpr (!kSigned) {
      low = _mm512_xor_si512(low, _mm512_set1_epi8(-128));
      high = _mm512_xor_si512(high, _mm512_set1_epi8(-128));
    }
    w.first = (VB)low;
    w.second = (VB)high;
    w.scale = (VF)_mm512_cvtph_ps(_mm512_castsi512_si256(pick_words(kScales, first, second)));
  }
};

typedef WideNibbles<18, 2, 0, ByteFormat<72, 8>> BytesQ4_0;
typedef WideNibbles<20, 4, 0, ByteFormat<80, 0, true>> BytesQ4_1;
typedef WideNibbles<22, 6, 2, ByteFormat<88, 16>> BytesQ5_0;
typedef WideNibbles<24, 8, 4, ByteFormat<96, 0, true>> BytesQ5_1;

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
