// The parts of attention that no instruction set changes: how the work is cut, and the gradient
// of the bias.
#include "kernels/attention.h"

#include <algorithm>

#include "base/checked.h"
#include "kernels/attention_shape.h"
#include "kernels/table.h"

namespace beacon::kernels {

AttentionShape attention_shape(const AttentionParams& p) noexcept {
  constexpr int64_t kLeastChunk = 512;
  constexpr int64_t kMostChunks = 4;
  constexpr int64_t kWantedUnits = 16;  // of the forward pass, for threads to share
  AttentionShape shape{};
  shape.group = p.num_heads / p.num_kv_heads;
  shape.rows = p.num_queries * shape.group;
  shape.row_blocks = ceil_div(shape.rows, kAttentionBlock);
  shape.unit_blocks = std::clamp(ceil_div(p.num_kv_heads * shape.row_blocks, kWantedUnits), int64_t{1},
                                 kAttentionForwardBlocks);
  shape.row_units = ceil_div(shape.row_blocks, shape.unit_blocks);
  shape.chunk_keys =
      std::max(kLeastChunk, ceil_div(ceil_div(p.num_keys, kMostChunks), kAttentionBlock) * kAttentionBlock);
  shape.chunks = ceil_div(p.num_keys, shape.chunk_keys);
  return shape;
}

int64_t grad_bias_floats(const AttentionParams& p) noexcept {
  return p.dbias == nullptr ? 0 : grad_bias_offset(p, p.num_kv_heads, 0);
}

int64_t grad_bias_offset(const AttentionParams& p, int64_t kv_head, int64_t chunk) noexcept {
  const AttentionShape shape = attention_shape(p);
  return (kv_head * shape.chunks + chunk) * shape.row_blocks * kAttentionBlock;
}

int64_t attention_forward_units(const AttentionParams& p) noexcept {
  return p.num_kv_heads * attention_shape(p).row_units;
}

int64_t attention_backward_row_units(const AttentionParams& p) noexcept {
  return p.num_kv_heads * attention_shape(p).row_blocks;
}

int64_t attention_backward_key_units(const AttentionParams& p) noexcept {
  return p.num_kv_heads * attention_shape(p).chunks;
}

int64_t attention_backward_workspace_floats(const AttentionParams& p) noexcept {
  return grad_bias_floats(p) + active_table().attention_backward_workspace_floats(p);
}

void attention_backward_bias(const AttentionParams& p, const float* workspace) noexcept {
  if (p.dbias == nullptr) return;
  const AttentionShape shape = attention_shape(p);
  for (int64_t n = 0; n < p.num_heads; ++n) {
    double sum = 0;
    for (int64_t chunk = 0; chunk < shape.chunks; ++chunk) {
      const float* rows = workspace + grad_bias_offset(p, n / shape.group, chunk);
      for (int64_t r = n % shape.group; r < shape.rows; r += shape.group) sum += rows[r];
    }
    p.dbias[n] = static_cast<float>(sum);
  }
}

}  // namespace beacon::kernels
