#pragma once
// Attention with gradients through torch's flash attention, for GPUs.
// Letters: B batch, T new rows, S keys, N query heads, K KV heads, H head_dim.
#include "ops/attention.h"
#include "ops/autograd/recording.h"

namespace beacon::ops::autograd {

// Flash attention exists on CUDA, for bf16, and knows one mask: causal from the bottom right.
bool has_flash(const RecordingContext& context, const AttentionOptions& options);

// Shapes as in autograd/attention.h, all bf16 and on the GPU; without a mask.
at::Tensor attention_flash(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionOptions& options);

// What flash attention is called with: it knows no bias, so the beacon gate becomes two more dimensions of the
// heads, and heads are padded to a multiple of 8. softmax(scale q k^T) v, with H numbers of each row of v
// meant, is the attention of the arguments.
struct FlashArguments {
  at::Tensor q, k, v;  // [B, N, T, H'], [B, K, S, H'] twice
};
FlashArguments flash_arguments(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options);

}  // namespace beacon::ops::autograd
