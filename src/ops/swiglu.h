#pragma once
// The gate of the feed-forward block.
#include <ATen/core/Tensor.h>

namespace beacon::ops {

// out = silu(gate) * up. All [R, F] contiguous, f32 or bf16; out may be gate or up.
void swiglu(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& out);

}  // namespace beacon::ops
