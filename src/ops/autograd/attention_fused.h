#pragma once
// Attention on our kernels, with their backward pass. Internal to this folder: see attention.h.
#include "ops/attention.h"

namespace beacon::ops::autograd {

// q, k, v of one type, f32 or bf16; shapes and options checked by the caller.
at::Tensor attention_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionOptions& options);

}  // namespace beacon::ops::autograd
