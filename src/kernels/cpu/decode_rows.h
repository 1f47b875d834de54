// Tile sizes of attention of few queries, and the keys and values of one KV head: read in place or copied.
#pragma once

#include "kernels/attention_decode.h"
#include "kernels/cpu/q8_rows.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// kTileRows x 2 accumulators, two vectors of keys and a broadcast fill the registers.
#if defined(__AVX512F__)
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif
constexpr int kTileCols = 2 * kLanes;

// Keys whose scores are held at once.
constexpr int64_t kKeyBlock = 64;
static_assert(kKeyBlock % (2 * kLanes) == 0);

constexpr float kMinusInfinity = -__builtin_inff();

BEACON_INLINE int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
BEACON_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
BEACON_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Keys or values of one KV head.
struct HeadRows {
  DType type;
  const void* data;
  int64_t row_stride;

  BEACON_INLINE const float* floats(int64_t row) const {
    return static_cast<const float*>(data) + row * row_stride;
  }
  BEACON_INLINE const uint16_t* halves(int64_t row) const {
    return static_cast<const uint16_t*>(data) + row * row_stride;
  }
  BEACON_INLINE const uint8_t* blocks(int64_t row) const {
    return static_cast<const uint8_t*>(data) + row * row_stride;
  }
  BEACON_INLINE float at(int64_t row, int64_t h) const {
    return type == DType::kBF16 ? bf16_at(reinterpret_cast<const uint8_t*>(halves(row) + h)) : floats(row)[h];
  }
};

BEACON_INLINE HeadRows key_rows(const AttentionDecodeParams& p, int64_t kv_head) {
  return {p.kv_type, static_cast<const char*>(p.k) + stride_unit(p.kv_type) * kv_head * p.k_head_stride,
          p.k_row_stride};
}

BEACON_INLINE HeadRows value_rows(const AttentionDecodeParams& p, int64_t kv_head) {
  return {p.kv_type, static_cast<const char*>(p.v) + stride_unit(p.kv_type) * kv_head * p.v_head_stride,
          p.v_row_stride};
}

// How keys and values are read.
enum class Reading {
  kFloats,  // in place
  kHalves,  // in place, two vectors from one of words: the even elements first, then the odd ones
  kCopy,    // from a copy in f32, padded with zeros to whole vectors
};

BEACON_INLINE Reading reading_of(const AttentionDecodeParams& p) {
  if (p.kv_type == DType::kF32) return p.head_dim % kLanes == 0 ? Reading::kFloats : Reading::kCopy;
  if (p.kv_type == DType::kQ8_0) return Reading::kCopy;
  return p.head_dim % (2 * kLanes) == 0 ? Reading::kHalves : Reading::kCopy;
}

// Where element h of a head stands among its vectors.
BEACON_INLINE int64_t place_of(Reading reading, int64_t h) {
  if (reading != Reading::kHalves) return h;
  return h / (2 * kLanes) * (2 * kLanes) + h % 2 * kLanes + h / 2 % kLanes;
}

// Rows of f32, or of bf16 in vectors of words, with their distance in elements.
struct FloatRows {
  const float* data;
  int64_t stride;

  BEACON_INLINE FloatRows from(int64_t h) const { return {data + h, stride}; }
  // Two vectors from element h of row s on.
  BEACON_INLINE void two(int64_t s, int64_t h, VF& first, VF& second) const {
    first = load(data + s * stride + h);
    second = load(data + s * stride + h + kLanes);
  }
  BEACON_INLINE VF one(int64_t s, int64_t h) const { return load(data + s * stride + h); }
};

struct HalfRows {
  const uint16_t* data;
  int64_t stride;

  BEACON_INLINE HalfRows from(int64_t h) const { return {data + h, stride}; }
  BEACON_INLINE void two(int64_t s, int64_t h, VF& first, VF& second) const {
    VU words;
    __builtin_memcpy(&words, data + s * stride + h, sizeof words);
    first = as_float(words << 16);
    second = as_float(words & 0xFFFF0000U);
  }
};

// Rows [begin, begin + n) as f32 [n, padded_dim].
template <bool kHalf>
void copy_rows_as(const HeadRows& rows, int64_t begin, int64_t n, int64_t head_dim, float* dst) {
  const int64_t padded_dim = round_up(head_dim, kLanes);
  const int64_t whole = head_dim / kLanes * kLanes;
  for (int64_t s = 0; s < n; ++s) {
    float* out = dst + s * padded_dim;
    for (int64_t h = 0; h < whole; h += kLanes) {
      if constexpr (kHalf) {
        store(out + h, bf16_to_float(load_half(rows.halves(begin + s) + h)));
      } else {
        store(out + h, load(rows.floats(begin + s) + h));
      }
    }
    for (int64_t h = whole; h < padded_dim; ++h) out[h] = h < head_dim ? rows.at(begin + s, h) : 0.0F;
  }
}

inline void copy_rows(const HeadRows& rows, int64_t begin, int64_t n, int64_t head_dim, float* dst) {
  if (rows.type == DType::kQ8_0) {
    for (int64_t s = 0; s < n; ++s)
      widen_q8_0(rows.blocks(begin + s), head_dim, dst + s * round_up(head_dim, kLanes));
  } else if (rows.type == DType::kBF16) {
    copy_rows_as<true>(rows, begin, n, head_dim, dst);
  } else {
    copy_rows_as<false>(rows, begin, n, head_dim, dst);
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
