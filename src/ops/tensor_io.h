#pragma once
// Between tensors in memory and tensors in files.
#include <ATen/core/Tensor.h>

#include <string>

#include "io/tensor_view.h"

namespace beacon::ops {

// A copy of a tensor of a file, of the same element type and shape. Throws kUnsupported for types torch does
// not have (quantised blocks).
at::Tensor copy_of(const TensorView& view);

// A view on a contiguous tensor's bytes, for writing; the tensor must outlive it. F32, BF16, I64, I32 or U8.
TensorView view_of(const std::string& name, const at::Tensor& tensor);

}  // namespace beacon::ops
