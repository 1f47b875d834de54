#include "ops/autograd/rope.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "base/check.h"

namespace beacon::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor rope_plain(const at::Tensor& x, const RopeTable& table) {
  const auto halves = x.to(at::kFloat).chunk(2, -1);
  const at::Tensor cos = table.cos.unsqueeze(1), sin = table.sin.unsqueeze(1);  // [T, 1, H / 2]
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
}

// Rows of neighbouring batch rows at one distance, heads of unit stride.
bool is_row_array(const at::Tensor& x) {
  return x.stride(3) == 1 && (x.size(0) == 1 || x.stride(0) == x.size(1) * x.stride(1));
}

at::Tensor rotate(const at::Tensor& any_x, const at::Tensor& cos, const at::Tensor& sin, at::ScalarType type,
                  bool backwards) {
  const at::Tensor x = is_row_array(any_x) ? any_x : any_x.contiguous();
  const at::Tensor y = at::empty(x.sizes(), x.options().dtype(type));
  const std::vector<int64_t> heads = {x.size(0) * x.size(1), x.size(2), x.size(3)};
  apply_rope(x.view(heads), {cos, sin}, y.view(heads), backwards);
  return y;
}

class FusedRope : public torch::autograd::Function<FusedRope> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin, at::ScalarType type) {
    ctx->save_for_backward({cos, sin});
    ctx->saved_data["type"] = static_cast<int64_t>(x.scalar_type());
    return rotate(x, cos, sin, type, false);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const auto type = static_cast<at::ScalarType>(ctx->saved_data["type"].toInt());
    return {rotate(grads[0], saved[0], saved[1], type, true), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rope(const at::Tensor& x, const RopeTable& table, const RecordingContext& context) {
  BEACON_CHECK(x.dim() == 4 && table.cos.size(0) == x.size(1) && 2 * table.cos.size(1) == x.size(3));
  BEACON_CHECK(table.sin.sizes() == table.cos.sizes());
  if (context.has_kernels())
    return FusedRope::apply(x, table.cos.contiguous(), table.sin.contiguous(), context.compute);
  return rope_plain(x, table).to(context.compute);
}

}  // namespace beacon::ops::autograd
