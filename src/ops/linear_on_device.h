#pragma once
// linear.h on a device that is not the processor.
#include <span>

#include "ops/linear.h"

namespace beacon::ops {

// linear_group(): torch's product in `compute` with the weights' resident matrices or, of few rows, a
// kernel's with their resident blocks.
void linear_on_device(const at::Tensor& x, std::span<const LinearTarget> targets, at::ScalarType compute);

// The weight's blocks on the device, u8 [O, bytes] in the order of kernels/cuda/split_blocks.h.
at::Tensor blocks_on(at::Device device, const Weight& weight);

// Rows of a resident weight, [index, I] in `type`; all of them without an index (i64).
at::Tensor resident_rows(const Weight& weight, at::Device device, at::ScalarType type,
                         const at::Tensor& index = {});

}  // namespace beacon::ops
