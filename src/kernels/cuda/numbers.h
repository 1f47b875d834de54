#pragma once
// Numbers of a type that is known when the kernel runs, one by one and several neighbours at once.
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

BEACON_DEVICE float exp_of(float x) {
#if defined(__CUDACC__)
  return expf(x);
#else
  return std::exp(x);
#endif
}

// Rounded to nearest even; a NaN stays one.
BEACON_DEVICE uint16_t float_to_bf16(float value) {
  const uint32_t bits = bits_of_float(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<uint16_t>((bits >> 16) | 0x40U);
  return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

struct alignas(8) EightBytes {
  uint32_t words[2];
};
struct alignas(16) SixteenBytes {
  uint32_t words[4];
};

BEACON_DEVICE float load(DType type, const void* data, int64_t i) {
  return type == DType::kF32 ? static_cast<const float*>(data)[i]
                             : bf16_to_float(static_cast<const uint16_t*>(data)[i]);
}

BEACON_DEVICE void store(DType type, void* data, int64_t i, float value) {
  if (type == DType::kF32) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<uint16_t*>(data)[i] = float_to_bf16(value);
  }
}

// Two bf16 numbers of a word.
BEACON_DEVICE float low_bf16(uint32_t word) { return float_of_bits(word << 16); }
BEACON_DEVICE float high_bf16(uint32_t word) { return float_of_bits(word & 0xFFFF0000U); }

// data[i], ... at a multiple of their size together.
template <int kCount>
BEACON_DEVICE void load_some(DType type, const void* data, int64_t i, float* to) {
  if constexpr (kCount == 4) {
    if (type == DType::kF32) {
      const SixteenBytes four = *reinterpret_cast<const SixteenBytes*>(static_cast<const float*>(data) + i);
      for (int j = 0; j < 4; ++j) to[j] = float_of_bits(four.words[j]);
    } else {
      const EightBytes four = *reinterpret_cast<const EightBytes*>(static_cast<const uint16_t*>(data) + i);
      for (int j = 0; j < 2; ++j) {
        to[2 * j] = low_bf16(four.words[j]);
        to[2 * j + 1] = high_bf16(four.words[j]);
      }
    }
  } else {
    for (int j = 0; j < kCount; ++j) to[j] = load(type, data, i + j);
  }
}

template <int kCount>
BEACON_DEVICE void store_some(DType type, void* data, int64_t i, const float* from) {
  if constexpr (kCount == 4) {
    if (type == DType::kF32) {
      SixteenBytes four;
      for (int j = 0; j < 4; ++j) four.words[j] = bits_of_float(from[j]);
      *reinterpret_cast<SixteenBytes*>(static_cast<float*>(data) + i) = four;
    } else {
      EightBytes four;
      for (int j = 0; j < 2; ++j) {
        four.words[j] = static_cast<uint32_t>(float_to_bf16(from[2 * j])) |
                        static_cast<uint32_t>(float_to_bf16(from[2 * j + 1])) << 16;
      }
      *reinterpret_cast<EightBytes*>(static_cast<uint16_t*>(data) + i) = four;
    }
  } else {
    for (int j = 0; j < kCount; ++j) store(type, data, i + j, from[j]);
  }
}

// Eight neighbours of a type that the compiler knows, at a multiple of 16 bytes: as they are loaded, and as
// numbers.
template <DType kType>
struct Eight {
  static constexpr int kPieces = kType == DType::kF32 ? 2 : 1;
  SixteenBytes pieces[kPieces];

  BEACON_DEVICE static Eight at(const void* data, int64_t i) {
    constexpr int64_t kBytes = kType == DType::kF32 ? 4 : 2;
    const auto* from = reinterpret_cast<const SixteenBytes*>(static_cast<const char*>(data) + kBytes * i);
    Eight eight;
    for (int p = 0; p < kPieces; ++p) eight.pieces[p] = from[p];
    return eight;
  }
  BEACON_DEVICE static Eight zeros() {
    Eight eight;
    for (int p = 0; p < kPieces; ++p) eight.pieces[p] = {{0, 0, 0, 0}};
    return eight;
  }
  BEACON_DEVICE void numbers(float* to) const {
    for (int j = 0; j < 8; ++j) {
      if constexpr (kType == DType::kF32) {
        to[j] = float_of_bits(pieces[j / 4].words[j % 4]);
      } else {
        to[j] = j % 2 == 0 ? low_bf16(pieces[0].words[j / 2]) : high_bf16(pieces[0].words[j / 2]);
      }
    }
  }
};

}  // namespace beacon::kernels
