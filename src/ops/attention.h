#pragma once
// Attention of new rows to a memory of keys and values.
// Letters: B batch, T new rows, S keys, N query heads, K KV heads, H head_dim.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "ops/parallel.h"

namespace beacon::ops {

// What the queries may see and what is added to their scores.
struct AttentionOptions {
  double scale = 1.0;
  // u8 [T, S], 1 = visible; undefined: causal from the bottom right (query t sees keys up to S - T + t). In
  // recording also [B, T, S].
  at::Tensor mask;
  // With a mask: every row sees the first so many keys, and one behind them; S - T at most, 0 in recording.
  // On a GPU the mask begins behind them.
  int64_t seen_keys = 0;
  // What mask_bias() (attention_torch.h) makes of the mask, for many calls; undefined: made where it is
  // needed.
  at::Tensor bias;
  // f32 [N], added to the scores of the keys flagged in gated_keys u8 [S]; undefined: nothing is added.
  at::Tensor gate;
  at::Tensor gated_keys;
};

struct AttentionContext {
  // Of more than kFewQueries f32 queries on the processor: products are integers where it is faster at those
  // (kernels::AttentionParams::integers).
  bool integers = false;
  Scratch per_thread;
  Scratch partials;
};

// One of several attentions over keys and values of their own.
struct AttentionCall {
  at::Tensor q, k, v;
  AttentionOptions options;
  at::Tensor out;
};

// Up to this many f32 queries are bound by the reading of keys and values, which are then split over threads.
inline constexpr int64_t kFewQueries = 8;

// out = softmax(scale q k^T + gate + mask) v. q, out [B, T, N * H] contiguous, of one type, and k, v rows [B,
// K, S, width] as key_rows.h has them, of one type. Keys are rotated already. Where q is bf16, k and v are
// not f32 and the processor multiplies bf16, products and weights are bf16 and sums f32; else all arithmetic
// is f32, but for context.integers.
void attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options,
               const at::Tensor& out, AttentionContext& context);

// attention() for each call, to the same bits. Those of few queries share one parallel region.
void attention_group(std::span<const AttentionCall> calls, AttentionContext& context);

// The slow twin in plain torch, with every mask written out; differentiable.
at::Tensor attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options);

}  // namespace beacon::ops
