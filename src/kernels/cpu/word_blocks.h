// Bringing rows of heads into the blocks that product.h multiplies, and back.
#pragma once

#include "base/dtype.h"
#include "kernels/attention_shape.h"
#include "kernels/cpu/product.h"
#include "kernels/cpu/q8_rows.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

BEACON_INLINE int64_t round_up(int64_t n, int64_t step) { return (n + step - 1) / step * step; }
BEACON_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
BEACON_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// Rows of one KV head: row r is token r / group, head r % group. Keys and values have a group of one.
struct GroupRows {
  DType type;
  char* data;
  int64_t row_stride;
  int64_t head_stride;
  int64_t group;

  BEACON_INLINE char* at(int64_t r) const {
    return data + stride_unit(type) * (r / group * row_stride + r % group * head_stride);
  }
};

BEACON_INLINE GroupRows group_rows(const HeadOutput& x, int64_t kv_head, int64_t group) {
  return {x.type, static_cast<char*>(x.data) + stride_unit(x.type) * kv_head * group * x.head_stride,
          x.row_stride, x.head_stride, group};
}
BEACON_INLINE GroupRows group_rows(const HeadArray& x, int64_t kv_head, int64_t group) {
  return group_rows(HeadOutput{const_cast<void*>(x.data), x.row_stride, x.head_stride, x.type}, kv_head,
                    group);
}

// n elements as floats, then zeros up to padded.
inline void widen_row(DType type, const char* src, int64_t n, int64_t padded, float* dst) {
  int64_t i = 0;
  if (type == DType::kQ8_0) {
    widen_q8_0(reinterpret_cast<const uint8_t*>(src), n, dst);
    i = n;
  } else if (type == DType::kBF16) {
    for (; i + kLanes <= n; i += kLanes) store(dst + i, bf16_to_float(load_half(src + 2 * i)));
    for (; i < n; ++i) dst[i] = bf16_at(reinterpret_cast<const uint8_t*>(src) + 2 * i);
  } else {
    __builtin_memcpy(dst, src, static_cast<size_t>(n) * 4);
    i = n;
  }
  for (; i < padded; ++i) dst[i] = 0;
}

// Rows [begin, end) as words, zeros up to padded_dim elements and kAttentionBlock rows.
template <typename Words>
void pack_rows(const GroupRows& rows, int64_t begin, int64_t end, int64_t head_dim, int64_t padded_dim,
               Block dst) {
  const auto bytes = static_cast<size_t>(padded_dim / Words::kPerWord) * 4;
  for (int64_t r = 0; r < kAttentionBlock; ++r) {
    float* out = dst.data + r * dst.stride;
    if (begin + r >= end) {
      __builtin_memset(out, 0, bytes);
    } else if constexpr (Words::kPerWord == 1) {
      widen_row(rows.type, rows.at(begin + r), head_dim, padded_dim, out);
    } else if (rows.type == DType::kQ8_0) {
      float wide[32];
      for (int64_t h = 0; h < head_dim; h += 32) {
        widen_q8_0(reinterpret_cast<const uint8_t*>(rows.at(begin + r)) + h / 32 * 34, 32, wide);
        for (int v = 0; v < 32; v += kLanes)
          store_half(reinterpret_cast<uint16_t*>(out) + h + v, float_to_bf16(load(wide + v)));
      }
    } else {
      const auto used = static_cast<size_t>(head_dim) * 2;
      __builtin_memcpy(out, rows.at(begin + r), used);
      __builtin_memset(reinterpret_cast<char*>(out) + used, 0, bytes - used);
    }
  }
}

// Words whose elements are neighbours in a row to words whose elements are neighbours in a column:
// [kAttentionBlock, dim / kPerWord] to [kAttentionBlock / kPerWord, dim].
template <typename Words>
void pair_rows(Block src, int64_t dim, Block dst) {
  for (int64_t r = 0; r < kAttentionBlock; r += Words::kPerWord) {
    const float* first = src.data + r * src.stride;
    float* out = dst.data + r / Words::kPerWord * dst.stride;
    if constexpr (Words::kPerWord == 1) {
      __builtin_memcpy(out, first, static_cast<size_t>(dim) * 4);
    } else {
      const char* upper = reinterpret_cast<const char*>(first);
      const char* lower = reinterpret_cast<const char*>(first + src.stride);
      for (int64_t i = 0; i < dim; i += kLanes) {
        const VU low = __builtin_convertvector(load_half(upper + 2 * i), VU);
        const VU high = __builtin_convertvector(load_half(lower + 2 * i), VU);
        store(out + i, as_float(low | (high << 16)));
      }
    }
  }
}

// dst[j][i] = src[i][j]; rows and columns multiples of four.
inline void transpose_block(Block src, int64_t rows, int64_t columns, Block dst) {
  const auto four = [&](int64_t i, int64_t j) {
    return *reinterpret_cast<const F4Memory*>(src.data + i * src.stride + j);
  };
  for (int64_t j = 0; j < columns; j += 4) {
    for (int64_t i = 0; i < rows; i += 4) {
      const F4 a = four(i, j);
      const F4 b = four(i + 1, j);
      const F4 c = four(i + 2, j);
      const F4 d = four(i + 3, j);
      const F4 ac_low = __builtin_shufflevector(a, c, 0, 4, 1, 5);
      const F4 ac_high = __builtin_shufflevector(a, c, 2, 6, 3, 7);
      const F4 bd_low = __builtin_shufflevector(b, d, 0, 4, 1, 5);
      const F4 bd_high = __builtin_shufflevector(b, d, 2, 6, 3, 7);
      float* out = dst.data + j * dst.stride + i;
      *reinterpret_cast<F4Memory*>(out) = __builtin_shufflevector(ac_low, bd_low, 0, 4, 1, 5);
      *reinterpret_cast<F4Memory*>(out + dst.stride) = __builtin_shufflevector(ac_low, bd_low, 2, 6, 3, 7);
      *reinterpret_cast<F4Memory*>(out + 2 * dst.stride) =
          __builtin_shufflevector(ac_high, bd_high, 0, 4, 1, 5);
      *reinterpret_cast<F4Memory*>(out + 3 * dst.stride) =
          __builtin_shufflevector(ac_high, bd_high, 2, 6, 3, 7);
    }
  }
}

// Writes row r of src times factors[r] to rows begin + r < end.
inline void write_rows(const GroupRows& rows, int64_t begin, int64_t end, int64_t head_dim, Block src,
                       const float* factors) {
  for (int64_t r = 0; begin + r < end; ++r) {
    float* in = src.data + r * src.stride;
    char* out = rows.at(begin + r);
    const VF factor = broadcast(factors[r]);
    for (int64_t h = 0; h < head_dim; h += kLanes) {
      const VF value = load(in + h) * factor;
      const int64_t n = least(kLanes, head_dim - h);
      if (rows.type == DType::kBF16) {
        const VH half = float_to_bf16(value);
        __builtin_memcpy(out + 2 * h, &half, static_cast<size_t>(n) * 2);
      } else {
        __builtin_memcpy(out + 4 * h, &value, static_cast<size_t>(n) * 4);
      }
    }
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
