#pragma once
// The gate of the feed-forward block.
#include "ops/autograd/recording.h"

namespace beacon::ops::autograd {

// silu(gate) * up in context.compute. gate, up [..., F] of one shape and floating type.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up, const RecordingContext& context);

}  // namespace beacon::ops::autograd
