#include "ops/swiglu.h"

#include "base/check.h"
#include "kernels/activation.h"
#include "ops/parallel.h"

namespace beacon::ops {

void swiglu(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& out) {
  BEACON_CHECK(gate.sizes() == up.sizes() && gate.sizes() == out.sizes());
  BEACON_CHECK(gate.is_contiguous() && up.is_contiguous() && out.is_contiguous() &&
               gate.scalar_type() == at::kFloat);
  const float* g = gate.const_data_ptr<float>();
  const float* u = up.const_data_ptr<float>();
  float* o = out.data_ptr<float>();
  parallel_for(gate.numel(), 4096, [&](int64_t begin, int64_t end) {
    kernels::swiglu(g + begin, u + begin, o + begin, end - begin);
  });
}

}  // namespace beacon::ops
