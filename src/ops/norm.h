#pragma once
// Root-mean-square normalisation.
#include <ATen/core/Tensor.h>

namespace beacon::ops {

// y = x / sqrt(mean(x^2) + eps) * weight over the last axis. x, y [R, D] contiguous f32 or bf16, weight [D]
// f32; y may be x.
void rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y);

// residual += branch, then y = rms_norm(residual). All [R, D] contiguous; residual f32, branch and y of one
// type, f32 or bf16; y may be branch.
void add_rms_norm(const at::Tensor& branch, const at::Tensor& residual, const at::Tensor& weight, double eps,
                  const at::Tensor& y);

}  // namespace beacon::ops
