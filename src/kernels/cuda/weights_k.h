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
BEACON_DEVICE void k_scale_min(const uint8_t* scales, int j, float& scale, float& minimum) {
  if (j < 4) {
    scale = static_cast<float>(scales[j] & 63);
    minimum = static_cast<float>(scales[j + 4] & 63);
  } else {
    scale = static_cast<float>((scales[j + 4] & 15) | ((scales[j - 4] >> 6) << 4));
    minimum = static_cast<float>((scales[j + 4] >> 4) | ((scales[j] >> 6) << 4));
  }
}

// Sub-block j of Q4_K and Q5_K: its nibbles are the low (even j) or high halves of 32 bytes, its fifth bits,
// if any, bit j of 32 others.
BEACON_DEVICE void spread_k(const WholeBlock& x, const uint8_t* nibbles, const uint8_t* fifth, float* w) {
  const int j = x.unit, half = j % 2;
  float scale = 0, minimum = 0;
  k_scale_min(x.block + 4, j, scale, minimum);
  scale *= load_half(x.block);
  minimum *= load_half(x.block + 2);
  const EightBytes packed = load_words(nibbles + (j / 2) * 32 + 8 * x.part);
  const EightBytes high = fifth == nullptr ? EightBytes{{0, 0}} : load_words(fifth + 8 * x.part);
  for (int i = 0; i < 8; ++i) {
    const int shift = 8 * (i % 4);
    const uint32_t q = ((packed.words[i / 4] >> (shift + 4 * half)) & 15U) |
                       (((high.words[i / 4] >> (shift + j)) & 1U) << 4);
    w[i] = scale * static_cast<float>(q) - minimum;
  }
}

template <>
struct Units<DType::kQ4_K> : InOrder {
  using Fetched = WholeBlock;
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t /*units*/, int64_t unit, int part) {
    return {row + unit / 8 * 144, static_cast<int>(unit % 8), part};
  }
  BEACON_DEVICE static void weights(const Fetched& x, float* w) { spread_k(x, x.block + 16, nullptr, w); }
};

template <>
struct Units<DType::kQ5_K> : InOrder {
  using Fetched = WholeBlock;
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t /*units*/, int64_t unit, int part) {
    return {row + unit / 8 * 176, static_cast<int>(unit % 8), part};
  }
  BEACON_DEVICE static void weights(const Fetched& x, float* w) {
    spread_k(x, x.block + 48, x.block + 16, w);
  }
};

template <>
struct Units<DType::kQ6_K> : InOrder {
  using Fetched = WholeBlock;
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t /*units*/, int64_t unit, int part) {
    return {row + unit / 8 * 210, static_cast<int>(unit % 8), part};
  }
  BEACON_DEVICE static void weights(const Fetched& x, float* w) {
    const int half = x.unit / 4, quarter = x.unit % 4;
    const uint8_t* packed = x.block + half * 64 + (quarter % 2) * 32 + 8 * x.part;
    const uint8_t* high = x.block + 128 + half * 32 + 8 * x.part;
    // A scale is that of 16 numbers.
    const auto number = static_cast<int8_t>(x.block[192 + 2 * x.unit + x.part / 2]);
    const float scale = load_half(x.block + 208) * static_cast<float>(number);
    for (int i = 0; i < 8; i += 4) {
      const uint32_t four = load32(packed + i) >> (quarter < 2 ? 0 : 4);
      const uint32_t bits = load32(high + i) >> (2 * quarter);
      for (int l = 0; l < 4; ++l) {
        const uint32_t q = ((four >> (8 * l)) & 15U) | (((bits >> (8 * l)) & 3U) << 4);
        w[i + l] = scale * static_cast<float>(static_cast<int>(q) - 32);
      }
    }
  }
};

}  // namespace beacon::kernels
