// Quantised weights as bytes, for vectors of one or two blocks: each block by itself, then joined.
#pragma once

#include "kernels/cpu/byte_weights.h"
#include "kernels/cpu/k_formats.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

typedef uint8_t B16 __attribute__((vector_size(16)));
typedef uint8_t B16Memory __attribute__((vector_size(16), aligned(1), may_alias));

BEACON_INLINE B16 load16(const uint8_t* p) { return *reinterpret_cast<const B16Memory*>(p); }

struct BlockBytes {
  B16 first = {};
  B16 second = {};
  float scale = 0;
  float minimum = 0;
  float scale_second = 0;
};

BEACON_INLINE VB join(const B16 (&parts)[kBlocks]) {
#if defined(__AVX2__)
  return (VB)_mm256_set_m128i((__m128i)parts[1], (__m128i)parts[0]);
#else
  return parts[0];
#endif
}

BEACON_INLINE VF spread(const float (&values)[kBlocks]) {
#if defined(__AVX2__)
  return (VF)_mm256_set_m128(_mm_set1_ps(values[1]), _mm_set1_ps(values[0]));
#else
  return broadcast(values[0]);
#endif
}

// Block: read(row, b, bytes) reads block b of a row.
template <typename Block>
struct Narrow : Block {
  // Blocks [b, b + kBlocks); kPart: only `count` of them are there, and the others become zero.
  template <bool kPart>
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, int64_t count, ByteWeights& w) {
    B16 first[kBlocks], second[kBlocks];
    float scale[kBlocks], minimum[kBlocks], scale_second[kBlocks];
    BEACON_UNROLL
    for (int i = 0; i < kBlocks; ++i) {
      BlockBytes bytes;
      if (!kPart || i < count) Block::read(row, b + i, bytes);
      first[i] = bytes.first;
      second[i] = bytes.second;
      scale[i] = bytes.scale;
      minimum[i] = bytes.minimum;
      scale_second[i] = bytes.scale_second;
    }
    w.first = join(first);
    w.second = join(second);
    w.scale = spread(scale);
    if constexpr (Block::kHasMinimum) w.minimum = spread(minimum);
    if constexpr (Block::kTwoScales) w.scale_second = spread(scale_second);
  }
};

BEACON_INLINE void read_nibbles(const uint8_t* p, BlockBytes& bytes) {
  bytes.first = load16(p) & 15;
  bytes.second = load16(p) >> 4;
}

// 16 in byte i where bit i is set.
BEACON_INLINE B16 fifth_bits(uint32_t bits) {
  typedef uint64_t U2 __attribute__((vector_size(16)));
  constexpr uint64_t kEveryByte = 0x0101010101010101U;
  const B16 own = reinterpret_cast<B16>(U2{0x8040201008040201U, 0x8040201008040201U});
  const B16 spread = reinterpret_cast<B16>(U2{(bits & 255U) * kEveryByte, (bits >> 8 & 255U) * kEveryByte});
  return reinterpret_cast<B16>((spread & own) == own) & 16;
}

BEACON_INLINE void add_fifth_bits(const uint8_t* p, BlockBytes& bytes) {
  const uint32_t bits = fifth_bits_at(p).all;
  bytes.first |= fifth_bits(bits);
  bytes.second |= fifth_bits(bits >> 16);
}

struct BlockQ8_0 : BytesOfQ8_0 {
  static BEACON_INLINE void read(const uint8_t* row, int64_t b, BlockBytes& bytes) {
    const uint8_t* block = row + 34 * b;
    bytes.scale = f16_at(block);
    bytes.first = load16(block + 2);
    bytes.second = load16(block + 18);
  }
};

struct BlockQ4_0 : ByteFormat<72, 8> {
  static BEACON_INLINE void read(const uint8_t* row, int64_t b, BlockBytes& bytes) {
    const uint8_t* block = row + 18 * b;
    bytes.scale = f16_at(block);
    read_nibbles(block + 2, bytes);
  }
};

struct BlockQ4_1 : ByteFormat<80, 0, true> {
  static BEACON_INLINE void read(const uint8_t* row, int64_t b, BlockBytes& bytes) {
    const uint8_t* block = row + 20 * b;
    bytes.scale = f16_at(block);
    bytes.minimum = f16_at(block + 2);
    read_nibbles(block + 4, bytes);
  }
};

struct BlockQ5_0 : ByteFormat<88, 16> {
  static BEACON_INLINE void read(const uint8_t* row, int64_t b, BlockBytes& bytes) {
    const uint8_t* block = row + 22 * b;
    bytes.scale = f16_at(block);
    read_nibbles(block + 6, bytes);
    add_fifth_bits(block + 2, bytes);
  }
};

struct BlockQ5_1 : ByteFormat<96, 0, true> {
  static BEACON_INLINE void read(const uint8_t* row, int64_t b, BlockBytes& bytes) {
    const uint8_t* block = row + 24 * b;
    bytes.scale = f16_at(block);
    bytes.minimum = f16_at(block + 2);
    read_nibbles(block + 8, bytes);
    add_fifth_bits(block + 4, bytes);
  }
};

struct BlockQ4_K : ByteFormat<72, 0, true> {
  static BEACON_INLINE void read(const uint8_t* row, int64_t b, BlockBytes& bytes) {
    const uint8_t* block = row + 144 * (b / 8);
    load_k_scales(block, b % 8, bytes);
    const uint8_t* nibbles = block + 16 + 32 * (b % 8 / 2);
    const auto shift = static_cast<uint8_t>(4 * (b % 2));
    bytes.first = (load16(nibbles) >> shift) & 15;
    bytes.second = (load16(nibbles + 16) >> shift) & 15;
  }
};

struct BlockQ5_K : ByteFormat<88, 0, true> {
  static BEACON_INLINE void read(const uint8_t* row, int64_t b, BlockBytes& bytes) {
    const uint8_t* block = row + 176 * (b / 8);
    load_k_scales(block, b % 8, bytes);
    const uint8_t* nibbles = block + 48 + 32 * (b % 8 / 2);
    const auto shift = static_cast<uint8_t>(4 * (b % 2));
    const auto bit = static_cast<uint8_t>(b % 8);
    bytes.first = ((load16(nibbles) >> shift) & 15) | (((load16(block + 16) >> bit) & 1) << 4);
    bytes.second = ((load16(nibbles + 16) >> shift) & 15) | (((load16(block + 32) >> bit) & 1) << 4);
  }
};

struct BlockQ6_K : ByteFormat<105, 32, false, true> {
  static BEACON_INLINE void read(const uint8_t* row, int64_t b, BlockBytes& bytes) {
    const uint8_t* block = row + 210 * (b / 8);
    const auto half = b % 8 / 4;
    const auto quarter = b % 4;
    const uint8_t* nibbles = block + 64 * half + 32 * (quarter % 2);
    const uint8_t* top = block + 128 + 32 * half;
    const auto* scales = reinterpret_cast<const int8_t*>(block + 192 + 2 * (b % 8));
    const auto shift = static_cast<uint8_t>(4 * (quarter / 2));
    const auto bits = static_cast<uint8_t>(2 * quarter);
    bytes.first = ((load16(nibbles) >> shift) & 15) | (((load16(top) >> bits) & 3) << 4);
    bytes.second = ((load16(nibbles + 16) >> shift) & 15) | (((load16(top + 16) >> bits) & 3) << 4);
    bytes.scale = f16_at(block + 208) * static_cast<float>(scales[0]);
    bytes.scale_second = f16_at(block + 208) * static_cast<float>(scales[1]);
  }
};

typedef Narrow<BlockQ8_0> BytesQ8_0;
typedef Narrow<BlockQ4_0> BytesQ4_0;
typedef Narrow<BlockQ4_1> BytesQ4_1;
typedef Narrow<BlockQ5_0> BytesQ5_0;
typedef Narrow<BlockQ5_1> BytesQ5_1;
typedef Narrow<BlockQ4_K> BytesQ4_K;
typedef Narrow<BlockQ5_K> BytesQ5_K;
typedef Narrow<BlockQ6_K> BytesQ6_K;

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
