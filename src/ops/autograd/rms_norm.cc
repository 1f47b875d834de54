#include "ops/autograd/rms_norm.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/check.h"
#include "kernels/rows.h"
#include "ops/element_type.h"
#include "ops/norm.h"
#include "ops/parallel.h"

namespace beacon::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kRowsPerPiece = 16;

at::Tensor rms_norm_plain(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kFloat);
  return wide * at::rsqrt(wide.square().mean(-1, true) + eps) * weight.detach();
}

class FusedRmsNorm : public torch::autograd::Function<FusedRmsNorm> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& any_x, const at::Tensor& weight,
                            double eps, at::ScalarType type) {
    const at::Tensor x = any_x.contiguous();
    const at::Tensor y = at::empty(x.sizes(), x.options().dtype(type));
    ops::rms_norm(x.view({-1, x.size(-1)}), weight, eps, y.view({-1, x.size(-1)}));
    ctx->save_for_backward({x, weight});
    ctx->saved_data["eps"] = eps;
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor dy = grads[0].contiguous();
    const at::Tensor dx = at::empty(saved[0].sizes(), saved[0].options());
    kernels::NormRows rows;
    rows.x_type = element_type(saved[0]);
    rows.x = saved[0].const_data_ptr();
    rows.weight = saved[1].const_data_ptr<float>();
    rows.cols = saved[0].size(-1);
    rows.eps = static_cast<float>(ctx->saved_data["eps"].toDouble());
    rows.y_type = element_type(dy);
    rows.dy = dy.const_data_ptr();
    rows.dx = dx.data_ptr();
    parallel_for(dx.numel() / rows.cols, kRowsPerPiece,
                 [&](int64_t begin, int64_t end) { kernels::rms_norm_backward(rows, begin, end); });
    return {dx, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                    const RecordingContext& context) {
  BEACON_CHECK(weight.dim() == 1 && weight.size(0) == x.size(-1) && weight.scalar_type() == at::kFloat);
  if (context.has_kernels())
    return FusedRmsNorm::apply(x, weight.detach().contiguous(), eps, context.compute);
  if (context.recording == Recording::kFused && x.is_cuda())
    return at::rms_norm(x.to(at::kFloat), {x.size(-1)}, weight.detach(), eps).to(context.compute);
  return rms_norm_plain(x, weight, eps).to(context.compute);
}

}  // namespace beacon::ops::autograd
