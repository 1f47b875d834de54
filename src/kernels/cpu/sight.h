// Which rows of a block see which keys of a block.
#pragma once

#include "kernels/cpu/word_blocks.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

enum class Sight { kNone, kAll, kSome };

// Rows [row_begin, row_begin + kAttentionBlock) of a KV head and keys [key_begin, key_begin +
// kAttentionBlock); those beyond the ends are padding.
struct BlockPair {
  int64_t row_begin;
  int64_t row_end;  // the last of the pair that exists, plus one
  int64_t key_begin;
  int64_t key_end;
  int64_t group;
};

inline Sight causal_sight(const AttentionParams& p, const BlockPair& pair, uint8_t* visible) {
  const int64_t before = p.num_keys - p.num_queries;  // keys that query 0 sees, less one
  if (pair.key_begin > before + (pair.row_end - 1) / pair.group) return Sight::kNone;
  if (pair.key_begin + kAttentionBlock - 1 <= before + pair.row_begin / pair.group &&
      pair.key_end - pair.key_begin == kAttentionBlock)
    return Sight::kAll;
  for (int64_t j = 0; j < kAttentionBlock; ++j) {
    // Key s is seen from row (s - before) * group on.
    int64_t hidden = (pair.key_begin + j - before) * pair.group - pair.row_begin;
    hidden = pair.key_begin + j >= pair.key_end ? kAttentionBlock : least(most(hidden, 0), kAttentionBlock);
    __builtin_memset(visible + j * kAttentionBlock, 0, static_cast<size_t>(hidden));
    __builtin_memset(visible + j * kAttentionBlock + hidden, 1,
                     static_cast<size_t>(kAttentionBlock - hidden));
  }
  return Sight::kSome;
}

inline Sight masked_sight(const AttentionParams& p, const BlockPair& pair, uint8_t* visible) {
  const int64_t keys = pair.key_end - pair.key_begin;
  bool any = false;
  bool all = keys == kAttentionBlock;
  for (int64_t t = pair.row_begin / pair.group; t <= (pair.row_end - 1) / pair.group; ++t) {
    const uint8_t* mask = p.mask + t * p.mask_row_stride + pair.key_begin;
    for (int64_t j = 0; j < keys; ++j) {
      any = any || mask[j] != 0;
      all = all && mask[j] != 0;
    }
  }
  if (!any) return Sight::kNone;
  if (all) return Sight::kAll;
  __builtin_memset(visible, 0, kAttentionBlock * kAttentionBlock);
  for (int64_t r = pair.row_begin; r < pair.row_end; ++r) {
    const uint8_t* mask = p.mask + r / pair.group * p.mask_row_stride + pair.key_begin;
    uint8_t* column = visible + (r - pair.row_begin);
    for (int64_t j = 0; j < keys; ++j) column[j * kAttentionBlock] = mask[j];
  }
  return Sight::kSome;
}

// kSome fills visible[key][row] (u8, kAttentionBlock x kAttentionBlock, 0 = not seen); padding keys are never
// seen.
inline Sight look(const AttentionParams& p, const BlockPair& pair, uint8_t* visible) {
  return p.mask == nullptr ? causal_sight(p, pair, visible) : masked_sight(p, pair, visible);
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
