#pragma once
// weights.h for the formats with blocks of 256.
#include "kernels/cuda/weights.h"

namespace beacon::kernels {

// Blocks of 256: eight units, of which one is meant.
struct WholeBlock {
  const uint8_t* block;
  int unit, part;
};

// The 6-bit scale and minimum of sub-block j (of 8), spread over 12 bytes.
BEACON_DEVICE Scaling k_scaling(const uint8_t* scales, int j) {
  if (j < 4) return {static_cast<float>(scales[j] & 63), static_cast<float>(scales[j + 4] & 63)};
  return {static_cast<float>((scales[j + 4] & 15) | ((scales[j - 4] >> 6) << 4)),
          static_cast<float>((scales[j + 4] >> 4) | ((scales[j] >> 6) << 4))};
}

BEACON_DEVICE Scaling k_scaling(const WholeBlock& x) {
  const Scaling own = k_scaling(x.block + 4, x.unit);
  return {own.scale * load_half(x.block), -own.shift * load_half(x.block + 2)};
}

// Sub-block j of Q4_K and Q5_K: its nibbles are the low (even j) or high halves of 32 bytes, its fifth bits,
// if any, bit j of 32 others.
BEACON_DEVICE void spread_k(const WholeBlock& x, const uint8_t* nibbles, const uint8_t* fifth, float* q) {
  const int j = x.unit;
  const EightBytes packed = load_words(nibbles + (j / 2) * 32 + 8 * x.part);
  const EightBytes high = fifth == nullptr ? EightBytes{{0, 0}} : load_words(fifth + 8 * x.part);
  for (int word = 0; word < 2; ++word) {
    const uint32_t four = ((packed.words[word] >> (4 * (j % 2))) & 0x0F0F0F0FU) |
                          (((high.words[word] >> j) & 0x01010101U) << 4);
    for (int i = 0; i < 4; ++i) q[4 * word + i] = byte_of(four, i);
  }
}

template <>
struct Units<DType::kQ4_K> : InOrder {
  using Fetched = WholeBlock;
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t /*units*/, int64_t unit, int part) {
    return {row + unit / 8 * 144, static_cast<int>(unit % 8), part};
  }
  BEACON_DEVICE static void numbers(const Fetched& x, float* q) { spread_k(x, x.block + 16, nullptr, q); }
  BEACON_DEVICE static Scaling scaling(const Fetched& x) { return k_scaling(x); }
};

template <>
struct Units<DType::kQ5_K> : InOrder {
  using Fetched = WholeBlock;
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t /*units*/, int64_t unit, int part) {
    return {row + unit / 8 * 176, static_cast<int>(unit % 8), part};
  }
  BEACON_DEVICE static void numbers(const Fetched& x, float* q) {
    spread_k(x, x.block + 48, x.block + 16, q);
  }
  BEACON_DEVICE static Scaling scaling(const Fetched& x) { return k_scaling(x); }
};

template <>
struct Units<DType::kQ6_K> : InOrder {
  using Fetched = WholeBlock;
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t /*units*/, int64_t unit, int part) {
    return {row + unit / 8 * 210, static_cast<int>(unit % 8), part};
  }
  BEACON_DEVICE static void numbers(const Fetched& x, float* q) {
    const int half = x.unit / 4, quarter = x.unit % 4;
    const uint8_t* packed = x.block + half * 64 + (quarter % 2) * 32 + 8 * x.part;
    const uint8_t* high = x.block + 128 + half * 32 + 8 * x.part;
    for (int i = 0; i < 8; i += 4) {
      const uint32_t four = ((load32(packed + i) >> (quarter < 2 ? 0 : 4)) & 0x0F0F0F0FU) |
                            (((load32(high + i) >> (2 * quarter)) & 0x03030303U) << 4);
      for (int j = 0; j < 4; ++j) q[i + j] = byte_of(four, j);
    }
  }
  // A scale is that of 16 numbers.
  BEACON_DEVICE static Scaling scaling(const Fetched& x) {
    const auto number = static_cast<int8_t>(x.block[192 + 2 * x.unit + x.part / 2]);
    const float scale = load_half(x.block + 208) * static_cast<float>(number);
    return {scale, -32.0F * scale};
  }
};

}  // namespace beacon::kernels
