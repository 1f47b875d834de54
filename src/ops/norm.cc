#include "ops/norm.h"

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
void run_on_device(const at::Tensor& x, const at::Tensor& branch, const at::Tensor& weight, double eps,
                   const at::Tensor& y) {
  const kernels::DeviceKernels* own = device_kernels(x.device());
  if (own != nullptr && x.scalar_type() == at::kFloat) {
    kernels::DeviceNorm norm;
    norm.x = x.data_ptr<float>();
    if (branch.defined()) {
      norm.branch_type = element_type(branch);
      norm.branch = branch.const_data_ptr();
    }
    norm.weight = weight.const_data_ptr<float>();
    norm.eps = static_cast<float>(eps);
    norm.y_type = element_type(y);
    norm.y = y.data_ptr();
    norm.rows = x.size(0);
    norm.cols = x.size(1);
    const c10::DeviceGuard guard(x.device());
    return check_launch(own->rms_norm(norm, kDefaultStream));
  }
  at::Tensor sum = x, out = y;
  if (branch.defined()) sum.add_(branch);
  const at::Tensor wide = sum.to(at::kFloat);
  out.copy_(wide * at::rsqrt(wide.square().mean(-1, true) + eps) * weight);
}

void run(const at::Tensor& x, const at::Tensor& branch, const at::Tensor& weight, double eps,
         const at::Tensor& y) {
  BEACON_CHECK(x.dim() == 2 && x.is_contiguous() && y.is_contiguous() && x.sizes() == y.sizes());
  BEACON_CHECK(weight.numel() == x.size(1) && weight.scalar_type() == at::kFloat);
  BEACON_CHECK(y.device() == x.device() && weight.device() == x.device());
  BEACON_CHECK(!branch.defined() || branch.device() == x.device());
  if (!x.is_cpu()) return run_on_device(x, branch, weight, eps, y);
  kernels::NormRows rows;
  rows.x_type = element_type(x);
  rows.x = x.const_data_ptr();
  rows.weight = weight.const_data_ptr<float>();
  rows.y_type = element_type(y);
  rows.y = y.data_ptr();
  rows.cols = x.size(1);
  rows.eps = static_cast<float>(eps);
  if (branch.defined()) {
    rows.branch = branch.const_data_ptr();
    rows.sum = x.data_ptr<float>();
  }
  parallel_for(x.size(0), 16,
               [&](int64_t begin, int64_t end) { kernels::rms_norm_forward(rows, begin, end); });
}

}  // namespace

void rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y) {
  run(x, {}, weight, eps, y);
}

void add_rms_norm(const at::Tensor& branch, const at::Tensor& residual, const at::Tensor& weight, double eps,
                  const at::Tensor& y) {
  BEACON_CHECK(branch.is_contiguous() && branch.sizes() == residual.sizes());
  BEACON_CHECK(branch.scalar_type() == y.scalar_type() && residual.scalar_type() == at::kFloat);
  run(residual, branch, weight, eps, y);
}

}  // namespace beacon::ops
