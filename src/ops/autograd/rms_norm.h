#pragma once
// Root-mean-square normalisation with a frozen weight.
#include "ops/autograd/recording.h"

namespace beacon::ops::autograd {

// x / sqrt(mean(x^2) + eps) * weight over the last axis, in context.compute. x [..., D] of f32 or bf16,
// weight f32 [D]. The gradient goes to x alone, in the type of x.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    const RecordingContext& context);

}  // namespace beacon::ops::autograd
