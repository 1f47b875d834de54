#pragma once
// Quantised weights of every format (kernels/reference/dequantize.cc, split_blocks.h), eight at a time: four
// lanes share a unit of 32, so that what a warp asks for at once lies together.
#include <cstdint>

#include "base/dtype.h"
#include "kernels/cuda/numbers.h"

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace beacon::kernels {

// Exact, subnormal numbers, infinities and NaN included.
BEACON_DEVICE float half_to_float(uint16_t bits) {
#if defined(__CUDACC__)
  return __half2float(__ushort_as_half(bits));
#else
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000U) << 16;
  const uint32_t rest = bits & 0x7FFFU;
  if (rest >= 0x7C00U) return float_of_bits(sign | 0x7F800000U | ((rest & 0x3FFU) << 13));
  // As if it were a number of f32 with half's exponent, times 2^112.
  return float_of_bits(sign | (rest << 13)) * float_of_bits((112U + 127U) << 23);
#endif
}

// At even addresses.
BEACON_DEVICE uint32_t load16(const uint8_t* at) { return *reinterpret_cast<const uint16_t*>(at); }
BEACON_DEVICE uint32_t load32(const uint8_t* at) { return load16(at) | (load16(at + 2) << 16); }
// At multiples of their size.
BEACON_DEVICE uint32_t load_word(const uint8_t* at) { return *reinterpret_cast<const uint32_t*>(at); }
BEACON_DEVICE EightBytes load_words(const uint8_t* at) { return *reinterpret_cast<const EightBytes*>(at); }

BEACON_DEVICE float low_half(uint32_t word) { return half_to_float(static_cast<uint16_t>(word)); }
BEACON_DEVICE float high_half(uint32_t word) { return half_to_float(static_cast<uint16_t>(word >> 16)); }
BEACON_DEVICE float load_half(const uint8_t* at) { return low_half(load16(at)); }

// fetch(row, units, unit, part): what a lane needs for a quarter of the weights 32 * unit, ... of a row of so
// many units; the loading, apart from what is done with it, so that several can be under way (of blocks of
// 256 only where it is). numbers(fetched, q): what the weights first(part), ... of the unit are kept as into
// q[0..3], those from second(part) on into q[4..7]. scaling(fetched): what makes weights of these.
template <DType kType>
struct Units;

// A weight is scale * number + shift.
struct Scaling {
  float scale, shift;
};

struct InOrder {
  BEACON_DEVICE static int first(int part) { return 8 * part; }
  BEACON_DEVICE static int second(int part) { return 8 * part + 4; }
};

// Where the low halves of 16 bytes are the first 16 numbers, the high halves the others.
struct HalvesApart {
  BEACON_DEVICE static int first(int part) { return 4 * part; }
  BEACON_DEVICE static int second(int part) { return 4 * part + 16; }
};

// Byte i of a word, less `zero`. Conversions go through a unit of a quarter of the rate, which was what held
// products up; as the last bits of a float from 2^23 on a byte is one, and the difference is exact.
BEACON_DEVICE float byte_of(uint32_t word, int i, int zero = 0) {
  constexpr uint32_t kExponent = 0x4B000000U;
#if defined(__CUDACC__)
  const uint32_t bits = __byte_perm(word, kExponent, 0x7540U + static_cast<uint32_t>(i));
#else
  const uint32_t bits = kExponent | ((word >> (8 * i)) & 255U);
#endif
  return float_of_bits(bits) - static_cast<float>((1 << 23) + zero);
}

template <>
struct Units<DType::kQ8_0> : InOrder {
  struct Fetched {
    EightBytes numbers;
    uint32_t d;
  };
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t units, int64_t unit, int part) {
    return {load_words(row + 32 * unit + 8 * part), load16(row + 32 * units + 2 * unit)};
  }
  BEACON_DEVICE static void numbers(const Fetched& x, float* q) {
    constexpr uint32_t kSigns = 0x80808080U;  // a signed byte and 128
    for (int j = 0; j < 8; ++j) q[j] = byte_of(x.numbers.words[j / 4] ^ kSigns, j % 4, 128);
  }
  BEACON_DEVICE static Scaling scaling(const Fetched& x) { return {low_half(x.d), 0}; }
};

// The low nibbles of four bytes, then the high ones; to their bytes what comes as fifths is added.
BEACON_DEVICE void spread_nibbles(uint32_t packed, float* q, uint32_t low_fifths = 0,
                                  uint32_t high_fifths = 0) {
  const uint32_t low = (packed & 0x0F0F0F0FU) | low_fifths;
  const uint32_t high = ((packed >> 4) & 0x0F0F0F0FU) | high_fifths;
  for (int j = 0; j < 4; ++j) {
    q[j] = byte_of(low, j);
    q[j + 4] = byte_of(high, j);
  }
}

template <>
struct Units<DType::kQ4_0> : HalvesApart {
  struct Fetched {
    uint32_t numbers, d;
  };
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t units, int64_t unit, int part) {
    return {load_word(row + 16 * unit + 4 * part), load16(row + 16 * units + 2 * unit)};
  }
  BEACON_DEVICE static void numbers(const Fetched& x, float* q) { spread_nibbles(x.numbers, q); }
  BEACON_DEVICE static Scaling scaling(const Fetched& x) {
    const float d = low_half(x.d);
    return {d, -8.0F * d};
  }
};

template <>
struct Units<DType::kQ4_1> : HalvesApart {
  struct Fetched {
    uint32_t numbers, d_and_m;
  };
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t units, int64_t unit, int part) {
    return {load_word(row + 16 * unit + 4 * part), load_word(row + 16 * units + 4 * unit)};
  }
  BEACON_DEVICE static void numbers(const Fetched& x, float* q) { spread_nibbles(x.numbers, q); }
  BEACON_DEVICE static Scaling scaling(const Fetched& x) {
    return {low_half(x.d_and_m), high_half(x.d_and_m)};
  }
};

// The last four bits, each as the fifth bit of a byte: factors of 2^7 move bit j to bit 8 j, and no two meet.
BEACON_DEVICE uint32_t fifths(uint32_t bits) { return ((bits & 15U) * 0x00204081U & 0x01010101U) << 4; }

// As spread_nibbles, with a fifth bit of each number: those of the first four are the lowest bits of `fifth`,
// those of the others begin 16 bits above.
BEACON_DEVICE void spread_fives(uint32_t packed, uint32_t fifth, float* q) {
  spread_nibbles(packed, q, fifths(fifth), fifths(fifth >> 16));
}

template <>
struct Units<DType::kQ5_0> : HalvesApart {
  struct Fetched {
    uint32_t numbers, d, fifth;
  };
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t units, int64_t unit, int part) {
    const uint8_t* header = row + 16 * units + 6 * unit;
    return {load_word(row + 16 * unit + 4 * part), load16(header), load32(header + 2) >> first(part)};
  }
  BEACON_DEVICE static void numbers(const Fetched& x, float* q) { spread_fives(x.numbers, x.fifth, q); }
  BEACON_DEVICE static Scaling scaling(const Fetched& x) {
    const float d = low_half(x.d);
    return {d, -16.0F * d};
  }
};

template <>
struct Units<DType::kQ5_1> : HalvesApart {
  struct Fetched {
    uint32_t numbers, d_and_m, fifth;
  };
  BEACON_DEVICE static Fetched fetch(const uint8_t* row, int64_t units, int64_t unit, int part) {
    const EightBytes header = load_words(row + 16 * units + 8 * unit);
    return {load_word(row + 16 * unit + 4 * part), header.words[0], header.words[1] >> first(part)};
  }
  BEACON_DEVICE static void numbers(const Fetched& x, float* q) { spread_fives(x.numbers, x.fifth, q); }
  BEACON_DEVICE static Scaling scaling(const Fetched& x) {
    return {low_half(x.d_and_m), high_half(x.d_and_m)};
  }
};

}  // namespace beacon::kernels
