#pragma once
// The element types that kernels compute on, as tensors have them.
#include <ATen/core/Tensor.h>

#include "base/check.h"
#include "base/dtype.h"

namespace beacon::ops {

// kF32 or kBF16; any other type is a mistake of the caller.
inline DType element_type(const at::Tensor& x) {
  BEACON_CHECK(x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
  return x.scalar_type() == at::kBFloat16 ? DType::kBF16 : DType::kF32;
}

}  // namespace beacon::ops
