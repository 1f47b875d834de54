// A unit of attention's forward pass: some blocks of rows over all keys that they see.
#pragma once

#include "kernels/cpu/attention_space.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// What a block of rows has gathered so far.
struct Gathered {
  float* out;      // [padded, kAttentionBlock] sums of weights times values
  float* largest;  // [kAttentionBlock] largest score
  float* total;    // [kAttentionBlock] sum of weights; NaN makes the row NaN
};

// Writes out and lse of rows [row_begin, row_end) of a KV head. Scores were counted in so many nats; `packed`
// [kAttentionBlock, padded] is on the way to another layout.
inline void finish_rows(const AttentionParams& p, int64_t kv_head, int64_t row_begin, int64_t row_end,
                        int64_t padded, const Gathered& rows, float nats, float* packed) {
  const int64_t group = p.num_heads / p.num_kv_heads;
  float inverse[kAttentionBlock];
  for (int64_t r = 0; r < kAttentionBlock; ++r) {
    const bool none = rows.total[r] == 0.0F;
    inverse[r] = none ? 0.0F : 1.0F / rows.total[r];
    if (row_begin + r >= row_end || p.lse == nullptr) continue;
    const int64_t n = kv_head * group + (row_begin + r) % group;
    p.lse[n * p.num_queries + (row_begin + r) / group] =
        none ? kInfinity : rows.largest[r] * nats + __builtin_logf(rows.total[r]);
  }
  transpose_block({rows.out, kAttentionBlock}, padded, kAttentionBlock, {packed, padded});
  write_rows(group_rows(p.out, kv_head, group), row_begin, row_end, p.head_dim, {packed, padded}, inverse);
}

// A kernel is its sizes `head`, its memory `space` (states: Gathered and more of each block; visible, as
// sight.h has it; packed; kNats of a score), and three functions of these: start_rows() of a block,
// pack_keys() for all blocks, attend_block().
template <typename Head, typename Space>
void forward_unit(const AttentionParams& p, int64_t unit, const Head& head, const Space& space) {
  const AttentionShape shape = attention_shape(p);
  const int64_t kv_head = unit / shape.row_units;
  const int64_t first = unit % shape.row_units * shape.unit_blocks;
  const int64_t blocks = least(shape.unit_blocks, shape.row_blocks - first);
  const auto begin = [&](int64_t b) { return (first + b) * kAttentionBlock; };
  const auto end = [&](int64_t b) { return least(shape.rows, begin(b) + kAttentionBlock); };
  for (int64_t b = 0; b < blocks; ++b) start_rows(p, head, kv_head, begin(b), end(b), space, space.states[b]);
  for (int64_t s = 0; s < p.num_keys; s += kAttentionBlock) {
    const int64_t key_end = least(p.num_keys, s + kAttentionBlock);
    bool packed = false;
    for (int64_t b = 0; b < blocks; ++b) {
      const BlockPair pair = {begin(b), end(b), s, key_end, shape.group};
      const Sight sight = look(p, pair, space.visible);
      if (sight == Sight::kNone) continue;
      if (!packed) pack_keys(p, head, kv_head, s, key_end, space);
      packed = true;
      attend_block(p, head, pair, sight, space, space.states[b]);
    }
  }
  for (int64_t b = 0; b < blocks; ++b) {
    finish_rows(p, kv_head, begin(b), end(b), head.padded, space.states[b], Space::kNats, space.packed);
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
