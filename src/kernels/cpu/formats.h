// The weight types of GGUF as 32 elements at a time: raw integers in vectors, and the scale and minimum
// around them.
#pragma once

#include "base/dtype.h"
#include "kernels/cpu/half.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

constexpr int kVectors = 32 / kLanes;

// Element i is scale * q[i] + minimum.
struct Piece {
  VF q[kVectors];
  float scale;
  float minimum;
};

// Each format: load(row, b, piece) reads elements [32 b, 32 b + 32) of a row. kScaled and kHasMinimum tell
// whether the scale is not always 1 and the minimum not always 0.
struct PlainF32 {
  static constexpr bool kScaled = false, kHasMinimum = false;
  static constexpr int kBytes = 4;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    BEACON_UNROLL
    for (int v = 0; v < kVectors; ++v)
      piece.q[v] = BEACON_CPU_NAMESPACE::load(row + 128 * b + 4 * kLanes * v);
  }
  static BEACON_INLINE float at(const uint8_t* row, int64_t i) {
    float value = 0;
    __builtin_memcpy(&value, row + 4 * i, sizeof value);
    return value;
  }
};

struct PlainF16 {
  static constexpr bool kScaled = false, kHasMinimum = false;
  static constexpr int kBytes = 2;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    BEACON_UNROLL
    for (int v = 0; v < kVectors; ++v) piece.q[v] = f16_to_float(load_half(row + 64 * b + 2 * kLanes * v));
  }
  static BEACON_INLINE float at(const uint8_t* row, int64_t i) { return f16_at(row + 2 * i); }
};

struct PlainBF16 {
  static constexpr bool kScaled = false, kHasMinimum = false;
  static constexpr int kBytes = 2;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    BEACON_UNROLL
    for (int v = 0; v < kVectors; ++v) piece.q[v] = bf16_to_float(load_half(row + 64 * b + 2 * kLanes * v));
  }
  static BEACON_INLINE float at(const uint8_t* row, int64_t i) { return bf16_at(row + 2 * i); }
};

// Sixteen bytes hold elements 0..15 in their low and 16..31 in their high halves. bits(v) gives what each
// lane of vector v adds before `offset` is taken away.
template <typename Bits>
BEACON_INLINE void load_nibbles(const uint8_t* bytes, int offset, Bits bits, Piece& piece) {
  BEACON_UNROLL
  for (int v = 0; v < kVectors / 2; ++v) {
    const VI packed = widen_u8(bytes + kLanes * v);
    piece.q[v] = to_float((packed & 15) + bits(v) - offset);
    piece.q[v + kVectors / 2] = to_float((packed >> 4) + bits(v + kVectors / 2) - offset);
  }
}

BEACON_INLINE VI lane_numbers() {
  VI lanes;
  for (int i = 0; i < kLanes; ++i) lanes[i] = i;
  return lanes;
}

// The fifth bits of a Q5_0 or Q5_1 block.
struct FifthBits {
  uint32_t all;
  BEACON_INLINE VI operator()(int v) const {
    const VU shifted = (VU{} + (all >> (kLanes * v))) >> reinterpret_cast<VU>(lane_numbers());
    return reinterpret_cast<VI>((shifted & 1U) << 4);
  }
};

struct NoBits {
  BEACON_INLINE VI operator()(int) const { return VI{}; }
};

BEACON_INLINE FifthBits fifth_bits_at(const uint8_t* p) {
  FifthBits bits{};
  __builtin_memcpy(&bits.all, p, sizeof bits.all);
  return bits;
}

struct Q8_0 {
  static constexpr bool kScaled = true, kHasMinimum = false;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    const uint8_t* block = row + 34 * b;
    piece.scale = f16_at(block);
    BEACON_UNROLL
    for (int v = 0; v < kVectors; ++v) piece.q[v] = to_float(widen_s8(block + 2 + kLanes * v));
  }
};

struct Q4_0 {
  static constexpr bool kScaled = true, kHasMinimum = false;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    const uint8_t* block = row + 18 * b;
    piece.scale = f16_at(block);
    load_nibbles(block + 2, 8, NoBits(), piece);
  }
};

struct Q4_1 {
  static constexpr bool kScaled = true, kHasMinimum = true;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    const uint8_t* block = row + 20 * b;
    piece.scale = f16_at(block);
    piece.minimum = f16_at(block + 2);
    load_nibbles(block + 4, 0, NoBits(), piece);
  }
};

struct Q5_0 {
  static constexpr bool kScaled = true, kHasMinimum = false;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    const uint8_t* block = row + 22 * b;
    piece.scale = f16_at(block);
    load_nibbles(block + 6, 16, fifth_bits_at(block + 2), piece);
  }
};

struct Q5_1 {
  static constexpr bool kScaled = true, kHasMinimum = true;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    const uint8_t* block = row + 24 * b;
    piece.scale = f16_at(block);
    piece.minimum = f16_at(block + 2);
    load_nibbles(block + 8, 0, fifth_bits_at(block + 4), piece);
  }
};

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
