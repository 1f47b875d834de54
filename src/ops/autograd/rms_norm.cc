#include "ops/autograd/rms_norm.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "base/check.h"

namespace beacon::ops::autograd {
namespace {

at::Tensor rms_norm_plain(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide * at::rsqrt(wide.square().mean(-1, true) + eps) * weight.detach();
}

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    const RecordingContext& context) {
  BEACON_CHECK(weight.dim() == 1 && weight.size(0) == x.size(-1) && weight.scalar_type() == at::kFloat);
  return rms_norm_plain(x, weight, eps).to(context.compute);
}

}  // namespace beacon::ops::autograd
