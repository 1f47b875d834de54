#pragma once
// A dense layer whose weight is not trained.
#include "ops/autograd/recording.h"

namespace beacon::ops::autograd {

// x W^T (+ bias) in context.compute. x [..., I] of any floating type; weight [O, I] in context.compute (any
// other floating type is converted at every call); bias [O] of any floating type or undefined. The gradient
// goes to x alone; x is not kept for it, the weight is referred to.
at::Tensor frozen_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                         const RecordingContext& context);

}  // namespace beacon::ops::autograd
