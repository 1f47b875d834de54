#pragma once
// How a differentiable operation is computed. The operations of this folder record themselves for backward();
// base weights are frozen, so none of them ever makes a gradient of a weight.
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace beacon::ops::autograd {

// kPlain: compositions of torch's own operations, the slow twins. kFused: our kernels with their own
// backward on the CPU; on a GPU torch's fused attention and norm, and the plain compositions for the rest.
enum class Recording { kPlain, kFused };

// A value: copy it, share it between threads.
struct RecordingContext {
  Recording recording = Recording::kFused;
  // The type of activations and products, at::kFloat (exact, for parity) or at::kBFloat16. Sums, norms,
  // softmax and the residual stream are f32 either way. Gradients have the type of what they belong to.
  at::ScalarType compute = at::kFloat;
  // Where all tensors are.
  at::Device device = at::kCPU;

  bool has_kernels() const { return recording == Recording::kFused && device.is_cpu(); }
};

}  // namespace beacon::ops::autograd
