#include "ops/swiglu.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/DeviceGuard.h>

#include "base/check.h"
#include "kernels/rows.h"
#include "ops/device_kernels.h"
#include "ops/element_type.h"
#include "ops/parallel.h"

namespace beacon::ops {
namespace {

// In a kernel of the device, or in torch's own operations.
void swiglu_on_device(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& out) {
  if (const kernels::DeviceKernels* own = device_kernels(gate.device())) {
    const c10::DeviceGuard guard(gate.device());
    return check_launch(own->swiglu({.type = element_type(gate),
                                     .gate = gate.const_data_ptr(),
                                     .up = up.const_data_ptr(),
                                     .out = out.data_ptr(),
                                     .n = gate.numel()},
                                    kDefaultStream));
  }
  at::Tensor result = out;
  result.copy_(at::silu(gate) * up);
}

}  // namespace

void swiglu(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& out) {
  BEACON_CHECK(gate.sizes() == up.sizes() && gate.sizes() == out.sizes());
  BEACON_CHECK(gate.is_contiguous() && up.is_contiguous() && out.is_contiguous());
  BEACON_CHECK(up.scalar_type() == gate.scalar_type() && out.scalar_type() == gate.scalar_type());
  BEACON_CHECK(up.device() == gate.device() && out.device() == gate.device());
  if (!gate.is_cpu()) return swiglu_on_device(gate, up, out);
  kernels::SwigluArrays arrays;
  arrays.type = element_type(gate);
  arrays.gate = gate.const_data_ptr();
  arrays.up = up.const_data_ptr();
  arrays.out = out.data_ptr();
  parallel_for(gate.numel(), 4096,
               [&](int64_t begin, int64_t end) { kernels::swiglu_forward(arrays, begin, end); });
}

}  // namespace beacon::ops
