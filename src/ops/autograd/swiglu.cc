#include "ops/autograd/swiglu.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "base/check.h"

namespace beacon::ops::autograd {
namespace {

at::Tensor swiglu_plain(const at::Tensor& gate, const at::Tensor& up) { return at::silu(gate) * up; }

}  // namespace

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up, const RecordingContext& context) {
  BEACON_CHECK(gate.sizes() == up.sizes());
  return swiglu_plain(gate.to(context.compute), up.to(context.compute));
}

}  // namespace beacon::ops::autograd
