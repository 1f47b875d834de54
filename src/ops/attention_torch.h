#pragma once
// Attention in torch's own operations, flash attention among them: for GPUs, and for recording;
// differentiable. Letters: B batch, T new rows, S keys, N query heads, K KV heads, H head_dim.
#include "ops/attention.h"

namespace beacon::ops {

// Flash attention exists on CUDA, for bf16, and knows one mask: causal from the bottom right.
bool has_flash(const at::Tensor& q, const AttentionOptions& options);

// Torch's memory-efficient attention exists on CUDA and adds a bias, here the mask: for bf16, without a gate,
// here with heads that flash attention takes as well.
bool has_masked_kernel(const at::Tensor& q, const AttentionOptions& options);

// softmax(scale q k^T + gate) v, [B, T, N, H]: q [B, T, N, H], k, v [B, S, K, H] with unit stride in H, where
// has_flash() says so.
at::Tensor attention_flash(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionOptions& options);

// The same under options.mask, where has_masked_kernel() says so. Each row must see a key.
at::Tensor attention_masked(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionOptions& options);

// That for the keys behind options.seen_keys, put together with flash attention to those before, which needs
// no mask. Not differentiable.
at::Tensor attention_behind_seen(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const AttentionOptions& options);

// Attention over two sets of keys from that over each: results [B, T, N, H] and the logarithms of their sums
// of exponentials, f32 [B, N, T]. In f32, then of the type of the results.
struct Attended {
  at::Tensor out, log_sum;
};
at::Tensor put_together(const Attended& a, const Attended& b);

// The mask as that kernel adds it, 0 or -infinity: [T, S], or [B * K, 1, T, S] of a mask [B, T, S].
at::Tensor mask_bias(const at::Tensor& mask, at::ScalarType type, int64_t kv_heads);

// What that kernel is called with: softmax(scale q k^T + bias) v, as in_heads() puts it back, is the
// attention of the arguments. KV heads are rows of the batch, so that a group's keys are kept once.
struct MaskedArguments {
  at::Tensor q, k, v, bias;  // [B * K, N / K, T, H], [B * K, N / K, S, H] twice, [B * K, N / K, T, S]
};
MaskedArguments masked_arguments(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const AttentionOptions& options);

// x [B * K, N / K, T, H] as [B, T, N, H].
at::Tensor in_heads(const at::Tensor& x, int64_t batch);

// What flash attention is called with: it knows no bias, so the beacon gate becomes two more dimensions of
// the heads, and heads are padded to a multiple of 8. softmax(scale q k^T) v, with H numbers of each row of v
// meant, is the attention of the arguments.
struct FlashArguments {
  at::Tensor q, k, v;  // [B, N, T, H'], [B, K, S, H'] twice
};
FlashArguments flash_arguments(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options);

// The same in torch's own operations, for any type, device and mask; differentiable.
at::Tensor attention_plain(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionOptions& options);

// attention_plain() for some rows after the others, so that no more than `scores` scores exist at once (those
// of one row at least). Without a graph only.
at::Tensor attention_in_pieces(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options, int64_t scores);

}  // namespace beacon::ops
