#include "ops/autograd/swiglu.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/check.h"
#include "kernels/rows.h"
#include "ops/element_type.h"
#include "ops/parallel.h"
#include "ops/swiglu.h"

namespace beacon::ops::autograd {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kElementsPerPiece = 8192;

at::Tensor swiglu_plain(const at::Tensor& gate, const at::Tensor& up) { return at::silu(gate) * up; }

class FusedSwiglu : public torch::autograd::Function<FusedSwiglu> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& any_gate, const at::Tensor& any_up) {
    const at::Tensor gate = any_gate.contiguous(), up = any_up.contiguous();
    const at::Tensor out = at::empty(gate.sizes(), gate.options());
    ops::swiglu(gate, up, out);
    ctx->save_for_backward({gate, up});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor dout = grads[0].contiguous();
    const at::Tensor dgate = at::empty(saved[0].sizes(), saved[0].options());
    const at::Tensor dup = at::empty(saved[1].sizes(), saved[1].options());
    kernels::SwigluArrays arrays;
    arrays.type = element_type(dout);
    arrays.gate = saved[0].const_data_ptr();
    arrays.up = saved[1].const_data_ptr();
    arrays.dout = dout.const_data_ptr();
    arrays.dgate = dgate.data_ptr();
    arrays.dup = dup.data_ptr();
    parallel_for(dout.numel(), kElementsPerPiece,
                 [&](int64_t begin, int64_t end) { kernels::swiglu_backward(arrays, begin, end); });
    return {dgate, dup};
  }
};

}  // namespace

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up, const RecordingContext& context) {
  BEACON_CHECK(gate.sizes() == up.sizes());
  const at::Tensor cast_gate = gate.to(context.compute), cast_up = up.to(context.compute);
  if (context.has_kernels()) return FusedSwiglu::apply(cast_gate, cast_up);
  return swiglu_plain(cast_gate, cast_up);
}

}  // namespace beacon::ops::autograd
