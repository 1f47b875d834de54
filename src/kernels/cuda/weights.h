#pragma once
// Quantised weights of every format as 32 floats at a time (the layouts: kernels/reference/dequantize.cc).
#include <cstdint>

#include "base/dtype.h"
#include "kernels/cuda/launch.h"

namespace beacon::kernels {

BEACON_DEVICE float float_of_bits(uint32_t bits) {
#if defined(__CUDACC__)
  return __uint_as_float(bits);
#else
  return __builtin_bit_cast(float, bits);
#endif
}

BEACON_DEVICE uint32_t bits_of_float(float value) {
#if defined(__CUDACC__)
  return __float_as_uint(value);
#else
  return __builtin_bit_cast(uint32_t, value);
#endif
}

BEACON_DEVICE float bf16_to_float(uint16_t bits) { return float_of_bits(static_cast<uint32_t>(bits) << 16); }

// Rounded to nearest even; a NaN stays one.
BEACON_DEVICE uint16_t float_to_bf16(float value) {
  const uint32_t bits = bits_of_float(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<uint16_t>((bits >> 16) | 0x40U);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// Exact, subnormal numbers, infinities and NaN included.
BEACON_DEVICE float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t rest = bits & 0x7FFFU;
  if (rest >= 0x7C00U) return float_of_bits(sign | 0x7F800000U | ((rest & 0x3FFU) << 13));
  // As if it were a number of f32 with half's exponent, times 2^112.
  return float_of_bits(sign | (rest << 13)) * float_of_bits((112U + 127U) << 23);
}

// Blocks lie at even addresses.
BEACON_DEVICE uint32_t load16(const uint8_t* at) { return *reinterpret_cast<const uint16_t*>(at); }
BEACON_DEVICE uint32_t load32(const uint8_t* at) { return load16(at) | (load16(at + 2) << 16); }
BEACON_DEVICE float load_half(const uint8_t* at) { return half_to_float(static_cast<uint16_t>(load16(at))); }
BEACON_DEVICE float nibble(uint32_t word, int i) { return static_cast<float>((word >> (4 * i)) & 15U); }

// load(row, unit, w): the weights 32 * unit, ... of a row.
template <DType kType>
struct Units;

template <>
struct Units<DType::kQ8_0> {
  BEACON_DEVICE static void load(const uint8_t* row, int64_t unit, float* w) {
    const uint8_t* block = row + unit * 34;
    const float d = load_half(block);
    for (int i = 0; i < 32; i += 4) {
      const uint32_t four = load32(block + 2 + i);
      for (int j = 0; j < 4; ++j) w[i + j] = d * static_cast<float>(static_cast<int8_t>(four >> (8 * j)));
    }
  }
};

// The low halves of 16 bytes are the first 16 numbers, the high halves the others: w = scale * number +
// shift.
BEACON_DEVICE void load_nibbles(const uint8_t* packed, float scale, float shift, float* w) {
  for (int i = 0; i < 16; i += 4) {
    const uint32_t four = load32(packed + i);
    for (int j = 0; j < 4; ++j) {
      w[i + j] = scale * nibble(four, 2 * j) + shift;
      w[i + j + 16] = scale * nibble(four, 2 * j + 1) + shift;
    }
  }
}

template <>
struct Units<DType::kQ4_0> {
  BEACON_DEVICE static void load(const uint8_t* row, int64_t unit, float* w) {
    const uint8_t* block = row + unit * 18;
    const float d = load_half(block);
    load_nibbles(block + 2, d, -8.0F * d, w);
  }
};

template <>
struct Units<DType::kQ4_1> {
  BEACON_DEVICE static void load(const uint8_t* row, int64_t unit, float* w) {
    const uint8_t* block = row + unit * 20;
    load_nibbles(block + 4, load_half(block), load_half(block + 2), w);
  }
};

// As load_nibbles, with a fifth bit of each number.
BEACON_DEVICE void load_fives(const uint8_t* packed, uint32_t fifth, float scale, float shift, float* w) {
  load_nibbles(packed, scale, shift, w);
  for (int i = 0; i < 32; ++i) w[i] += scale * static_cast<float>(((fifth >> i) & 1U) << 4);
}

template <>
struct Units<DType::kQ5_0> {
  BEACON_DEVICE static void load(const uint8_t* row, int64_t unit, float* w) {
    const uint8_t* block = row + unit * 22;
    const float d = load_half(block);
    load_fives(block + 6, load32(block + 2), d, -16.0F * d, w);
  }
};

template <>
struct Units<DType::kQ5_1> {
  BEACON_DEVICE static void load(const uint8_t* row, int64_t unit, float* w) {
    const uint8_t* block = row + unit * 24;
    load_fives(block + 8, load32(block + 4), load_half(block), load_half(block + 2), w);
  }
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
BEACON_DEVICE void load_k(const uint8_t* block, int j, const uint8_t* nibbles, const uint8_t* fifth,
                          float* w) {
  float scale = 0, minimum = 0;
  k_scale_min(block + 4, j, scale, minimum);
  scale *= load_half(block);
  minimum *= load_half(block + 2);
  const uint8_t* packed = nibbles + (j / 2) * 32;
  const int half = j % 2;
  for (int i = 0; i < 32; i += 4) {
    const uint32_t four = load32(packed + i), high = fifth == nullptr ? 0U : load32(fifth + i) >> j;
    for (int l = 0; l < 4; ++l) {
      const uint32_t q = ((four >> (8 * l + 4 * half)) & 15U) | (((high >> (8 * l)) & 1U) << 4);
      w[i + l] = scale * static_cast<float>(q) - minimum;
    }
  }
}

template <>
struct Units<DType::kQ4_K> {
  BEACON_DEVICE static void load(const uint8_t* row, int64_t unit, float* w) {
    const uint8_t* block = row + unit / 8 * 144;
    load_k(block, static_cast<int>(unit % 8), block + 16, nullptr, w);
  }
};

template <>
struct Units<DType::kQ5_K> {
  BEACON_DEVICE static void load(const uint8_t* row, int64_t unit, float* w) {
    const uint8_t* block = row + unit / 8 * 176;
    load_k(block, static_cast<int>(unit % 8), block + 48, block + 16, w);
  }
};

template <>
struct Units<DType::kQ6_K> {
  BEACON_DEVICE static void load(const uint8_t* row, int64_t unit, float* w) {
    const uint8_t* block = row + unit / 8 * 210;
    const int j = static_cast<int>(unit % 8), half = j / 4, quarter = j % 4;
    const uint8_t* packed = block + half * 64 + (quarter % 2) * 32;
    const uint8_t* high = block + 128 + half * 32;
    const auto* scales = reinterpret_cast<const int8_t*>(block + 192 + 2 * j);
    const float d = load_half(block + 208);
    for (int i = 0; i < 32; i += 4) {
      const uint32_t four = load32(packed + i) >> (quarter < 2 ? 0 : 4);
      const uint32_t bits = load32(high + i) >> (2 * quarter);
      const float scale = d * static_cast<float>(scales[i / 16]);
      for (int l = 0; l < 4; ++l) {
        const uint32_t q = ((four >> (8 * l)) & 15U) | (((bits >> (8 * l)) & 3U) << 4);
        w[i + l] = scale * static_cast<float>(static_cast<int>(q) - 32);
      }
    }
  }
};

}  // namespace beacon::kernels
