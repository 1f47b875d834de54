// The K kinds of GGUF (super-blocks of 256 elements), and the choice among all weight types.
#pragma once

#include "kernels/cpu/formats.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// The scale and minimum, 6 bits each for sub-block `sub` (of 8), spread over 12 bytes.
BEACON_INLINE void load_k_scales(const uint8_t* block, int64_t sub, Piece& piece) {
  const uint8_t* scales = block + 4;
  int scale = scales[sub] & 63;
  int minimum = scales[sub + 4] & 63;
  if (sub >= 4) {
    scale = (scales[sub + 4] & 15) | ((scales[sub - 4] >> 6) << 4);
    minimum = (scales[sub + 4] >> 4) | ((scales[sub] >> 6) << 4);
  }
  piece.scale = f16_at(block) * static_cast<float>(scale);
  piece.minimum = -(f16_at(block + 2) * static_cast<float>(minimum));
}

struct Q4_K {
  static constexpr bool kScaled = true, kHasMinimum = true;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    const uint8_t* block = row + 144 * (b / 8);
    const int64_t sub = b % 8;
    load_k_scales(block, sub, piece);
    const uint8_t* nibbles = block + 16 + 32 * (sub / 2);
    const int shift = 4 * static_cast<int>(sub % 2);
    BEACON_UNROLL
    for (int v = 0; v < kVectors; ++v) piece.q[v] = to_float((widen_u8(nibbles + kLanes * v) >> shift) & 15);
  }
};

struct Q5_K {
  static constexpr bool kScaled = true, kHasMinimum = true;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    const uint8_t* block = row + 176 * (b / 8);
    const int sub = static_cast<int>(b % 8);
    load_k_scales(block, sub, piece);
    const uint8_t* nibbles = block + 48 + 32 * (sub / 2);
    BEACON_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const VI low = (widen_u8(nibbles + kLanes * v) >> (4 * (sub % 2))) & 15;
      const VI high = (widen_u8(block + 16 + kLanes * v) >> sub) & 1;
      piece.q[v] = to_float(low + (high << 4));
    }
  }
};

// Its 16 sub-blocks are shorter than a piece, so the scales are multiplied in here.
struct Q6_K {
  static constexpr bool kScaled = false, kHasMinimum = false;
  static BEACON_INLINE void load(const uint8_t* row, int64_t b, Piece& piece) {
    const uint8_t* block = row + 210 * (b / 8);
    const int half = static_cast<int>(b % 8) / 4;
    const int quarter = static_cast<int>(b % 4);
    const uint8_t* low = block + 64 * half + 32 * (quarter % 2);
    const uint8_t* high = block + 128 + 32 * half;
    const float scale = f16_at(block + 208);
    const uint8_t* scales = block + 192 + 2 * (b % 8);
    const float both[2] = {scale * static_cast<float>(static_cast<int8_t>(scales[0])),
                           scale * static_cast<float>(static_cast<int8_t>(scales[1]))};
    BEACON_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const VI bits = (widen_u8(low + kLanes * v) >> (4 * (quarter / 2))) & 15;
      const VI top = (widen_u8(high + kLanes * v) >> (2 * quarter)) & 3;
      piece.q[v] = broadcast(both[v / (kVectors / 2)]) * to_float((bits | (top << 4)) - 32);
    }
  }
};

// Calls body(Format()) for a quantised type; false for every other.
template <typename Body>
BEACON_INLINE bool with_quantised_format(DType type, Body body) {
  switch (type) {
    case DType::kQ8_0:
      body(Q8_0());
      return true;
    case DType::kQ4_0:
      body(Q4_0());
      return true;
    case DType::kQ4_1:
      body(Q4_1());
      return true;
    case DType::kQ5_0:
      body(Q5_0());
      return true;
    case DType::kQ5_1:
      body(Q5_1());
      return true;
    case DType::kQ4_K:
      body(Q4_K());
      return true;
    case DType::kQ5_K:
      body(Q5_K());
      return true;
    case DType::kQ6_K:
      body(Q6_K());
      return true;
    default:
      return false;
  }
}

template <typename Body>
BEACON_INLINE bool with_plain_format(DType type, Body body) {
  switch (type) {
    case DType::kF32:
      body(PlainF32());
      return true;
    case DType::kF16:
      body(PlainF16());
      return true;
    case DType::kBF16:
      body(PlainBF16());
      return true;
    default:
      return false;
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
