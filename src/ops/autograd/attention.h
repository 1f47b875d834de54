#pragma once
// Attention with gradients to queries, keys, values and the beacon gate.
// Letters: B batch, T new rows, S keys, N query heads, K KV heads, H head_dim.
#include "ops/attention.h"
#include "ops/autograd/recording.h"

namespace beacon::ops::autograd {

// softmax(scale q k^T + gate + mask) v: [B, T, N, H] in context.compute, contiguous.
// q [B, T, N, H], k, v [B, S, K, H] after RoPE, of any floating type; N a multiple of K. options as in
// ops/attention.h, with options.gate differentiable: without a mask causal from the bottom right (T <= S); a
// row that sees nothing gives zeros and no gradients. Nothing of size T x S is kept when fused. Throws
// kInternal for shapes that do not fit.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionOptions& options, const RecordingContext& context);

}  // namespace beacon::ops::autograd
