#pragma once
// Element types of torch as those of the kernels. Internal to this folder.
#include <ATen/core/Tensor.h>

#include "base/check.h"
#include "base/dtype.h"

namespace beacon::ops::autograd {

// f32 or bf16.
inline DType element_type(const at::Tensor& x) {
  BEACON_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
  return x.scalar_type() == at::kBFloat16 ? DType::kBF16 : DType::kF32;
}

}  // namespace beacon::ops::autograd
