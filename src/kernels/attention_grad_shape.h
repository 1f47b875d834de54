#pragma once
// How attention_grad.h cuts its work, the same for every build. Internal to this module.
#include <cstdint>

#include "kernels/attention_grad.h"

namespace beacon::kernels {

// Rows, and keys, that are multiplied as one block.
inline constexpr int64_t kGradBlock = 64;
// Row blocks of one unit of the forward pass.
inline constexpr int64_t kGradForwardBlocks = 4;

struct GradShape {
  int64_t group;       // G
  int64_t rows;        // T * G of one KV head
  int64_t row_blocks;  // of kGradBlock rows, the last one may be partial
  int64_t chunk_keys;  // keys of one unit of the backward pass, a multiple of kGradBlock
  int64_t chunks;      // of keys
};

// The chunks depend on the shape alone, so that sums do not depend on the number of threads. The parts of dq
// that they leave grow with their number, which is four at most.
GradShape grad_shape(const AttentionGradParams& params) noexcept;

// The beginning of the backward workspace, written by the units of keys: sums over the biased keys of a chunk
// of the gradient of each row's scores, [K, chunks, row_blocks * kGradBlock].
int64_t grad_bias_floats(const AttentionGradParams& params) noexcept;
int64_t grad_bias_offset(const AttentionGradParams& params, int64_t kv_head, int64_t chunk) noexcept;

}  // namespace beacon::kernels
