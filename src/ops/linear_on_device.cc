#include "ops/linear_on_device.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/DeviceGuard.h>

#include "base/check.h"
#include "ops/device_kernels.h"
#include "ops/element_type.h"

namespace beacon::ops {
namespace {

kernels::DeviceBlocks device_blocks(const Weight& weight) {
  return {weight.dtype, static_cast<const std::byte*>(weight.resident_blocks.const_data_ptr()), weight.out,
          weight.in, weight.row_bytes()};
}

// x bf16 [R, I], few rows.
void multiply_blocks(const at::Tensor& x, const LinearTarget& target) {
  const Weight& weight = *target.weight;
  BEACON_CHECK(x.scalar_type() == at::kBFloat16 && target.y.device() == x.device());
  const c10::DeviceGuard guard(x.device());
  kernels::DeviceLinear p;
  p.weight = device_blocks(weight);
  p.x = static_cast<const uint16_t*>(x.const_data_ptr());
  p.x_stride = x.stride(0);
  p.bias = weight.bias.defined() ? weight.bias.const_data_ptr<float>() : nullptr;
  p.y_type = element_type(target.y);
  p.y = target.y.data_ptr();
  p.y_stride = target.y.stride(0);
  p.rows = x.size(0);
  check_launch(device_kernels(x.device())->linear_rows(p, kDefaultStream));
}

// x W^T in f32: cuBLAS gives its f32 sums, which torch's product would round to bf16 first.
at::Tensor product_f32(const at::Tensor& x, const at::Tensor& w) {
  if (x.is_cuda() && x.scalar_type() == at::kBFloat16) return at::mm(x, w.t(), at::kFloat);
  return at::mm(x, w.t()).to(at::kFloat);
}

void multiply_matrix(const at::Tensor& x, const LinearTarget& target) {
  const Weight& weight = *target.weight;
  const at::Tensor w = resident_rows(weight, x.device(), x.scalar_type());
  at::Tensor y = target.y;
  if (y.scalar_type() == x.scalar_type() && !weight.bias.defined()) {
    at::mm_out(y, x, w.t());
  } else {
    const at::Tensor product = product_f32(x, w);
    y.copy_(weight.bias.defined() ? product + weight.bias : product);
  }
}

}  // namespace

void linear_on_device(const at::Tensor& x, std::span<const LinearTarget> targets, at::ScalarType compute) {
  const at::Tensor rows = x.to(compute).contiguous();
  for (const LinearTarget& target : targets) {
    if (target.weight->resident_blocks.defined() && rows.size(0) <= kernels::kDeviceFewRows) {
      multiply_blocks(rows, target);
    } else {
      multiply_matrix(rows, target);
    }
    add_low_rank(rows, target.weight->low_rank, target.y, compute);
  }
}

at::Tensor resident_rows(const Weight& weight, at::Device device, at::ScalarType type,
                         const at::Tensor& index) {
  if (weight.resident.defined())
    return (index.defined() ? weight.resident.index_select(0, index) : weight.resident).to(type);
  BEACON_CHECK(weight.resident_blocks.defined());
  const c10::DeviceGuard guard(device);
  kernels::DeviceExpand p;
  p.weight = device_blocks(weight);
  p.index = index.defined() ? index.const_data_ptr<int64_t>() : nullptr;
  p.count = index.defined() ? index.numel() : weight.out;
  const at::Tensor rows = at::empty({p.count, weight.in}, at::TensorOptions(device).dtype(at::kBFloat16));
  p.to = static_cast<uint16_t*>(rows.data_ptr());
  check_launch(device_kernels(device)->expand_rows(p, kDefaultStream));
  return rows.to(type);
}

}  // namespace beacon::ops
