#pragma once
// Attention of new rows to a memory of keys and values.
// Letters: B batch, T new rows, S keys, N query heads, K KV heads, H head_dim.
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ops/parallel.h"

namespace beacon::ops {

// What the queries may see and what is added to their scores.
struct AttentionOptions {
  double scale = 1.0;
  // u8 [T, S], 1 = visible; undefined: causal from the bottom right (query t sees keys up to S - T + t).
  at::Tensor mask;
  // f32 [N], added to the scores of the keys flagged in gated_keys u8 [S]; undefined: nothing is added.
  at::Tensor gate;
  at::Tensor gated_keys;
};

struct AttentionContext {
  Scratch per_thread;
  Scratch partials;
};

// out = softmax(scale q k^T + gate + mask) v. q, out [B, T, N * H] contiguous f32; k, v [B, K, S, H] of f32
// or bf16 with unit stride in H. Keys are rotated already. Splits over threads by KV head and rows, and by
// keys when T is small.
void attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options,
               const at::Tensor& out, AttentionContext& context);

// The slow twin in plain torch, with every mask written out; differentiable.
at::Tensor attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options);

}  // namespace beacon::ops
