#pragma once
// How attention.h cuts its work, the same for every build. Internal to this module.
#include <cstdint>

#include "kernels/attention.h"

namespace beacon::kernels {

// Rows, and keys, that are multiplied as one block.
inline constexpr int64_t kAttentionBlock = 64;
// Row blocks of one unit of the forward pass, at most: keys and values are packed once for all of them.
inline constexpr int64_t kAttentionForwardBlocks = 8;

struct AttentionShape {
  int64_t group;        // G
  int64_t rows;         // T * G of one KV head
  int64_t row_blocks;   // of kAttentionBlock rows, the last one may be partial
  int64_t row_units;    // of one KV head in the forward pass
  int64_t unit_blocks;  // row blocks of such a unit; the last one may have fewer
  int64_t chunk_keys;   // keys of one unit of the backward pass, a multiple of kAttentionBlock
  int64_t chunks;       // of keys
};

// The chunks depend on the shape alone, so that sums do not depend on the number of threads. The parts of dq
// that they leave grow with their number, which is four at most.
AttentionShape attention_shape(const AttentionParams& params) noexcept;

// The beginning of the backward workspace, written by the units of keys: sums over the biased keys of a chunk
// of the gradient of each row's scores, [K, chunks, row_blocks * kAttentionBlock].
int64_t grad_bias_floats(const AttentionParams& params) noexcept;
int64_t grad_bias_offset(const AttentionParams& params, int64_t kv_head, int64_t chunk) noexcept;

}  // namespace beacon::kernels
