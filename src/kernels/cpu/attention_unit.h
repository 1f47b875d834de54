// A unit of attention's forward pass: some blocks of rows over all keys that they see.
#pragma once

#include "kernels/cpu/sight.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// A kernel has rows to start, attend with and finish, by the number of their block in the unit; keys to pack
// for all of them; and where to write what is visible (sight.h).
template <typename Kernel>
void forward_unit(const AttentionParams& p, int64_t unit, const Kernel& kernel) {
  const AttentionShape shape = attention_shape(p);
  const int64_t kv_head = unit / shape.row_units;
  const int64_t first = unit % shape.row_units * shape.unit_blocks;
  const int64_t blocks = least(shape.unit_blocks, shape.row_blocks - first);
  const auto begin = [&](int64_t b) { return (first + b) * kAttentionBlock; };
  const auto end = [&](int64_t b) { return least(shape.rows, begin(b) + kAttentionBlock); };
  for (int64_t b = 0; b < blocks; ++b) kernel.start(kv_head, begin(b), end(b), b);
  for (int64_t s = 0; s < p.num_keys; s += kAttentionBlock) {
    const int64_t key_end = least(p.num_keys, s + kAttentionBlock);
    bool packed = false;
    for (int64_t b = 0; b < blocks; ++b) {
      const BlockPair pair = {begin(b), end(b), s, key_end, shape.group};
      const Sight sight = look(p, pair, kernel.visible());
      if (sight == Sight::kNone) continue;
      if (!packed) kernel.pack(kv_head, s, key_end);
      packed = true;
      kernel.attend(pair, sight, b);
    }
  }
  for (int64_t b = 0; b < blocks; ++b) kernel.finish(kv_head, begin(b), end(b), b);
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
