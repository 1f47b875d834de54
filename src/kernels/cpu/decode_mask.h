// What a query row may see of a block of keys, and the bias of the block.
#pragma once

#include "kernels/cpu/decode_tiles.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// Query rows of one KV head, beginning with query t_begin and the first head of the group.
struct QueryRows {
  int64_t t_begin;
  int64_t count;
  int64_t group;
  int64_t first_head;

  BEACON_INLINE int64_t query(int64_t row) const { return t_begin + row / group; }
  BEACON_INLINE int64_t head(int64_t row) const { return first_head + row % group; }
};

// A block of keys and which of them get the bias of the head (all bits or none).
struct KeyBlock {
  int64_t begin;
  int64_t n;
  bool any_bias;
  int32_t biased[kKeyBlock];
};

inline KeyBlock make_key_block(const AttentionDecodeParams& p, int64_t begin, int64_t end) {
  KeyBlock block;
  block.begin = begin;
  block.n = least(kKeyBlock, end - begin);
  block.any_bias = false;
  if (p.head_bias == nullptr || p.bias_begin >= begin + block.n || p.bias_end <= begin) return block;
  for (int64_t j = 0; j < kKeyBlock; ++j) {
    const int64_t s = begin + j;
    const bool biased =
        j < block.n && s >= p.bias_begin && s < p.bias_end && (p.bias_keys == nullptr || p.bias_keys[s] != 0);
    block.biased[j] = biased ? -1 : 0;
    block.any_bias = block.any_bias || biased;
  }
  return block;
}

// How many leading keys of the block the rows [row, row + rows) need: 0 when none of them sees any.
inline int64_t needed_keys(const AttentionDecodeParams& p, const QueryRows& q, int64_t row, int64_t rows,
                           const KeyBlock& block) {
  const int64_t last = q.query(row + rows - 1);
  if (p.mask == nullptr) {
    const int64_t visible = p.num_keys - p.num_queries + last + 1 - block.begin;
    return visible < 0 ? 0 : least(visible, block.n);
  }
  for (int64_t t = q.query(row); t <= last; ++t) {
    const uint8_t* mask = p.mask + t * p.mask_row_stride + block.begin;
    for (int64_t j = 0; j < block.n; ++j) {
      if (mask[j] != 0) return block.n;
    }
  }
  return 0;
}

// Adds the bias and hides what each row does not see. scores [rows, kKeyBlock]; columns from n on are hidden
// too.
inline void mask_tile(const AttentionDecodeParams& p, const QueryRows& q, int64_t row, int64_t rows,
                      const KeyBlock& block, int64_t n, float* scores) {
  const int64_t width = round_up(n, kLanes);
  const bool below_diagonal =
      p.mask == nullptr && block.begin + n <= p.num_keys - p.num_queries + q.query(row) + 1 && n == width;
  if (below_diagonal && !block.any_bias) return;
  for (int64_t r = 0; r < rows; ++r) {
    float* line = scores + r * kKeyBlock;
    if (block.any_bias) {
      const VF bias = broadcast(p.head_bias[q.head(row + r)]);
      for (int64_t j = 0; j < width; j += kLanes) {
        const VF added = as_float(as_int(bias) & as_int(load(block.biased + j)));
        store(line + j, load(line + j) + added);
      }
    }
    const int64_t t = q.query(row + r);
    if (p.mask != nullptr) {
      keep_masked(line, p.mask + t * p.mask_row_stride + block.begin, n, width);
    } else if (!below_diagonal) {
      keep_first(line, least(n, most(0, p.num_keys - p.num_queries + t + 1 - block.begin)), width);
    }
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
