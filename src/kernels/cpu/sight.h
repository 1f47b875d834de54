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

inline Sight sight_of(bool any, bool all) { return !any ? Sight::kNone : all ? Sight::kAll : Sight::kSome; }

// A mask that is the same for all queries of the pair: so it is for most pairs, since what hides a key hides
// it from all that come later.
inline Sight common_sight(const uint8_t* mask, int64_t keys, uint8_t* visible) {
  bool any = false;
  bool all = keys == kAttentionBlock;
  for (int64_t j = 0; j < kAttentionBlock; ++j) {
    const uint8_t seen = j < keys && mask[j] != 0 ? 1 : 0;
    any = any || seen != 0;
    all = all && seen != 0;
    __builtin_memset(visible + j * kAttentionBlock, seen, kAttentionBlock);
  }
  return sight_of(any, all);
}

inline Sight masked_sight(const AttentionParams& p, const BlockPair& pair, uint8_t* visible) {
  const int64_t keys = pair.key_end - pair.key_begin;
  if (pair.key_end <= p.seen_keys && keys == kAttentionBlock) return Sight::kAll;
  const int64_t first = pair.row_begin / pair.group;
  const int64_t last = (pair.row_end - 1) / pair.group;
  const auto row_of = [&](int64_t t) { return p.mask + t * p.mask_row_stride + pair.key_begin; };
  bool same = true;
  for (int64_t t = first + 1; t <= last && same; ++t)
    same = __builtin_memcmp(row_of(first), row_of(t), static_cast<size_t>(keys)) == 0;
  if (same) return common_sight(row_of(first), keys, visible);

  bool any = false;
  bool all = keys == kAttentionBlock;
  __builtin_memset(visible, 0, kAttentionBlock * kAttentionBlock);
  for (int64_t r = pair.row_begin; r < pair.row_end; ++r) {
    const uint8_t* mask = row_of(r / pair.group);
    uint8_t* column = visible + (r - pair.row_begin);
    for (int64_t j = 0; j < keys; ++j) {
      column[j * kAttentionBlock] = mask[j];
      any = any || mask[j] != 0;
      all = all && mask[j] != 0;
    }
  }
  return sight_of(any, all);
}

// kSome fills visible[key][row] (u8, kAttentionBlock x kAttentionBlock, 0 = not seen); padding keys are never
// seen.
inline Sight look(const AttentionParams& p, const BlockPair& pair, uint8_t* visible) {
  return p.mask == nullptr ? causal_sight(p, pair, visible) : masked_sight(p, pair, visible);
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
