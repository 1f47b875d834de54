#include "ops/autograd/frozen_linear.h"

#include <ATen/Functions.h>

#include "base/check.h"

namespace beacon::ops::autograd {
namespace {

at::Tensor frozen_linear_plain(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor product = at::matmul(x, weight.t());
  return bias.defined() ? product.add(bias) : product;
}

}  // namespace

at::Tensor frozen_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                         const RecordingContext& context) {
  BEACON_CHECK(weight.dim() == 2 && x.size(-1) == weight.size(1));
  BEACON_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)));
  const at::Tensor frozen_bias = bias.defined() ? bias.detach().to(context.compute) : bias;
  return frozen_linear_plain(x.to(context.compute), weight.detach().to(context.compute), frozen_bias);
}

}  // namespace beacon::ops::autograd
