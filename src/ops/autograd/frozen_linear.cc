#include "ops/autograd/frozen_linear.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/check.h"

namespace beacon::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor frozen_linear_plain(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const at::Tensor product = at::matmul(x, weight.t());
  return bias.defined() ? product.add(bias) : product;
}

std::vector<int64_t> with_last(const at::Tensor& x, int64_t size) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.back() = size;
  return shape;
}

// x of any floating type; its gradient in the same type.
class FusedFrozenLinear : public torch::autograd::Function<FusedFrozenLinear> {
 public:
  // Without elements there is no bias.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias) {
    ctx->save_for_backward({weight});
    ctx->saved_data["type"] = static_cast<int64_t>(x.scalar_type());
    const at::Tensor rows = x.reshape({-1, x.size(-1)}).to(weight.scalar_type());
    const at::Tensor y = bias.numel() == 0 ? at::mm(rows, weight.t()) : at::addmm(bias, rows, weight.t());
    return y.view(with_last(x, weight.size(0)));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor weight = ctx->get_saved_variables()[0];
    const at::Tensor& dy = grads[0];
    const at::Tensor dx = at::mm(dy.reshape({-1, dy.size(-1)}), weight).view(with_last(dy, weight.size(1)));
    return {dx.to(static_cast<at::ScalarType>(ctx->saved_data["type"].toInt())), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor frozen_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                         const RecordingContext& context) {
  BEACON_CHECK(weight.dim() == 2 && x.size(-1) == weight.size(1));
  BEACON_CHECK(!bias.defined() || (bias.dim() == 1 && bias.size(0) == weight.size(0)));
  const at::Tensor frozen = weight.detach().to(context.compute);
  at::Tensor frozen_bias = bias.defined() ? bias.detach().to(context.compute) : bias;
  if (context.recording == Recording::kPlain)
    return frozen_linear_plain(x.to(context.compute), frozen, frozen_bias);
  if (!frozen_bias.defined()) frozen_bias = at::empty({0}, frozen.options());
  return FusedFrozenLinear::apply(x, frozen, frozen_bias);
}

}  // namespace beacon::ops::autograd
