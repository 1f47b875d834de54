// Tile sizes of attention, and the keys and values of one KV head: read, copied or packed for the tiles.
#pragma once

#include "kernels/attention.h"
#include "kernels/cpu/half.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// kTileRows x 2 accumulators, two vectors of keys and a broadcast fill the registers.
#if defined(__AVX512F__)
constexpr int kTileRows = 12;
#else
constexpr int kTileRows = 6;
#endif
constexpr int kTileCols = 2 * kLanes;

// Keys whose scores are held at once: the packed keys and the values of a block share the first-level cache.
constexpr int64_t kKeyBlock = 64;
static_assert(kKeyBlock % kTileCols == 0);

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
  BEACON_INLINE float at(int64_t row, int64_t h) const {
    return type == DType::kBF16 ? bf16_at(reinterpret_cast<const uint8_t*>(halves(row) + h)) : floats(row)[h];
  }
  BEACON_INLINE F4 four(int64_t row, int64_t h) const {
    if (type != DType::kBF16) return *reinterpret_cast<const F4Memory*>(floats(row) + h);
    typedef uint16_t H4 __attribute__((vector_size(8), aligned(1), may_alias));
    typedef uint32_t U4 __attribute__((vector_size(16)));
    return reinterpret_cast<F4>(__builtin_convertvector(*reinterpret_cast<const H4*>(halves(row) + h), U4)
                                << 16);
  }
};

BEACON_INLINE HeadRows key_rows(const AttentionParams& p, int64_t kv_head) {
  const int64_t bytes = p.kv_type == DType::kBF16 ? 2 : 4;
  return {p.kv_type, static_cast<const char*>(p.k) + bytes * kv_head * p.k_head_stride, p.k_row_stride};
}

BEACON_INLINE HeadRows value_rows(const AttentionParams& p, int64_t kv_head) {
  const int64_t bytes = p.kv_type == DType::kBF16 ? 2 : 4;
  return {p.kv_type, static_cast<const char*>(p.v) + bytes * kv_head * p.v_head_stride, p.v_row_stride};
}

// Rows that kernels can read in place need no copy in f32, padded with zeros to whole vectors.
BEACON_INLINE bool needs_copy(const AttentionParams& p) {
  return p.kv_type != DType::kF32 || p.head_dim % kLanes != 0;
}

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
  if (rows.type == DType::kBF16) {
    copy_rows_as<true>(rows, begin, n, head_dim, dst);
  } else {
    copy_rows_as<false>(rows, begin, n, head_dim, dst);
  }
}

// Keys [begin, begin + n) transposed: dst[tile][h][kTileCols], the keys missing in the last tile zero.
inline void pack_keys(const HeadRows& rows, int64_t begin, int64_t n, int64_t head_dim, float* dst) {
  for (int64_t col = 0; col < n; col += 4) {
    float* tile = dst + col / kTileCols * kTileCols * head_dim + col % kTileCols;
    int64_t h = 0;
    for (; n - col >= 4 && h + 4 <= head_dim; h += 4) {
      const F4 a = rows.four(begin + col, h);
      const F4 b = rows.four(begin + col + 1, h);
      const F4 c = rows.four(begin + col + 2, h);
      const F4 d = rows.four(begin + col + 3, h);
      const F4 ac_low = __builtin_shufflevector(a, c, 0, 4, 1, 5);
      const F4 ac_high = __builtin_shufflevector(a, c, 2, 6, 3, 7);
      const F4 bd_low = __builtin_shufflevector(b, d, 0, 4, 1, 5);
      const F4 bd_high = __builtin_shufflevector(b, d, 2, 6, 3, 7);
      float* out = tile + h * kTileCols;
      *reinterpret_cast<F4Memory*>(out) = __builtin_shufflevector(ac_low, bd_low, 0, 4, 1, 5);
      *reinterpret_cast<F4Memory*>(out + kTileCols) = __builtin_shufflevector(ac_low, bd_low, 2, 6, 3, 7);
      *reinterpret_cast<F4Memory*>(out + 2 * kTileCols) =
          __builtin_shufflevector(ac_high, bd_high, 0, 4, 1, 5);
      *reinterpret_cast<F4Memory*>(out + 3 * kTileCols) =
          __builtin_shufflevector(ac_high, bd_high, 2, 6, 3, 7);
    }
    for (; h < head_dim; ++h) {
      for (int64_t i = 0; i < 4; ++i)
        tile[h * kTileCols + i] = col + i < n ? rows.at(begin + col + i, h) : 0.0F;
    }
  }
  for (int64_t col = round_up(n, 4); col < round_up(n, kTileCols); ++col) {
    float* tile = dst + col / kTileCols * kTileCols * head_dim + col % kTileCols;
    for (int64_t h = 0; h < head_dim; ++h) tile[h * kTileCols] = 0;
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
