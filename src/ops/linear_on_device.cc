#include "ops/linear_on_device.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/DeviceGuard.h>

#include "base/check.h"
#include "kernels/cuda/split_blocks.h"
#include "ops/device_kernels.h"
#include "ops/element_type.h"

namespace beacon::ops {
namespace {

kernels::DeviceBlocks device_blocks(const Weight& weight) {
  return {weight.dtype, static_cast<const std::byte*>(weight.resident_blocks.const_data_ptr()), weight.out,
          weight.in, weight.resident_blocks.size(1)};
}

kernels::DeviceTarget device_target(const LinearTarget& target) {
  kernels::DeviceTarget out;
  out.weight = device_blocks(*target.weight);
  out.bias = target.weight->bias.defined() ? target.weight->bias.const_data_ptr<float>() : nullptr;
  out.y_type = element_type(target.y);
  out.y = target.y.data_ptr();
  out.y_stride = target.y.stride(0);
  return out;
}

// x bf16 [R, I], few rows. As many of the targets as go in one launch, the first in any case; says how many.
size_t multiply_blocks(const at::Tensor& x, std::span<const LinearTarget> targets) {
  const c10::DeviceGuard guard(x.device());
  kernels::DeviceLinear p;
  for (const LinearTarget& target : targets) {
    const Weight& weight = *target.weight;
    if (p.num_targets == kernels::kDeviceTargets || weight.dtype != targets[0].weight->dtype ||
        weight.in != targets[0].weight->in || !weight.resident_blocks.defined())
      break;
    BEACON_CHECK(x.scalar_type() == at::kBFloat16 && target.y.device() == x.device());
    p.targets[p.num_targets++] = device_target(target);
  }
  p.x = static_cast<const uint16_t*>(x.const_data_ptr());
  p.x_stride = x.stride(0);
  p.rows = x.size(0);
  check_launch(device_kernels(x.device())->linear_rows(p, kDefaultStream));
  return static_cast<size_t>(p.num_targets);
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
  for (size_t next = 0; next < targets.size();) {
    if (targets[next].weight->resident_blocks.defined() && rows.size(0) <= kernels::kDeviceFewRows) {
      next += multiply_blocks(rows, targets.subspan(next));
    } else {
      multiply_matrix(rows, targets[next++]);
    }
  }
  for (const LinearTarget& target : targets) add_low_rank(rows, target.weight->low_rank, target.y, compute);
}

at::Tensor blocks_on(at::Device device, const Weight& weight) {
  const int64_t row_bytes = kernels::device_row_bytes(weight.dtype, weight.in);
  const at::Tensor rows = at::empty({weight.out, row_bytes}, at::kByte);
  auto* to = static_cast<std::byte*>(rows.data_ptr());
  parallel_for(weight.out, 16, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o)
      kernels::split_row(weight.dtype, weight.in, weight.data + o * weight.row_bytes(), to + o * row_bytes);
  });
  return rows.to(device);
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
