#pragma once
// Where tensors live: the processor's memory, or that of a CUDA device.
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <string>
#include <vector>

namespace beacon::ops {

// "cpu", "cuda" (the first one) or "cuda:N". The first CUDA device loads torch's CUDA library, which must
// come before any other call of torch in the process: torch looks for it once. Throws kInvalidArgument for
// another name and kUnsupported, with the reason, where there is no such device.
at::Device open_device(const std::string& name);

// A tensor of host memory on the device. What is queued there goes on meanwhile: a copy from pageable memory
// has left it when the call returns, so `x` may go.
at::Tensor send(const at::Tensor& x, at::Device device);

// Host integers as a tensor of that type on the device: i64, or i32.
at::Tensor index_on(at::Device device, const std::vector<int64_t>& values);
at::Tensor index_on(at::Device device, const std::vector<int32_t>& values);

// From now on everything on a GPU gives the same bits when it is done again, or throws.
void ask_for_the_same_bits();

// What `device` takes while work is queued: returns when all of it is done. Nothing for the processor.
void synchronize(at::Device device);

}  // namespace beacon::ops
