// Flash attention on the GPU against the masked twin, values and gradients.
#include "ops/autograd/attention.h"

#include <torch/csrc/autograd/autograd.h>

#include "cuda/cuda_fixture.h"

namespace beacon::ops::autograd {
namespace {

using namespace beacon::testing;

struct Shape {
  int64_t batch = 1, rows = 1, keys = 1, heads = 9, kv_heads = 3, head_dim = 64;
};

struct Evaluation {
  at::Tensor value;
  std::vector<at::Tensor> gradients;
};

class CudaAttentionTest : public CudaTest {
 protected:
  Evaluation evaluate(const std::vector<at::Tensor>& inputs, const at::Tensor& flags, double scale,
                      const at::Tensor& direction, const RecordingContext& context) const {
    std::vector<at::Tensor> leaves;
    for (const at::Tensor& input : inputs)
      leaves.push_back(input.to(context.device).detach().clone().requires_grad_(true));
    AttentionOptions options;
    options.scale = scale;
    if (leaves.size() > 3) {
      options.gate = leaves[3];
      options.gated_keys = flags.to(context.device);
    }
    const at::Tensor value = attention(leaves[0], leaves[1], leaves[2], options, context);
    const at::Tensor total = (value.to(at::kFloat) * direction.to(context.device)).sum();
    return {value.detach().cpu(), torch::autograd::grad({total}, leaves)};
  }

  // bf16 on the GPU against f32 in plain torch, within roundings of the largest number.
  void expect_right(const Shape& s, bool gated) {
    const auto random = [](at::IntArrayRef shape) {
      return at::randn(shape).to(at::kBFloat16).to(at::kFloat);
    };
    std::vector<at::Tensor> inputs = {random({s.batch, s.rows, s.heads, s.head_dim}),
                                      random({s.batch, s.keys, s.kv_heads, s.head_dim}),
                                      random({s.batch, s.keys, s.kv_heads, s.head_dim})};
    at::Tensor flags;
    if (gated) {
      inputs.push_back(at::linspace(-4.03, 2.0, s.heads));
      flags = at::arange(s.keys).remainder(3).eq(0).to(at::kByte);
    }
    const double scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
    const at::Tensor direction = random({s.batch, s.rows, s.heads, s.head_dim});
    const Evaluation ours =
        evaluate(inputs, flags, scale, direction, {Recording::kFused, at::kBFloat16, gpu()});
    const Evaluation exact = evaluate(inputs, flags, scale, direction, {Recording::kPlain, at::kFloat});
    constexpr double kRoundings = 24;
    const auto expect_near = [&](const at::Tensor& actual, const at::Tensor& expected) {
      const double size = std::max(1.0, expected.abs().max().item<double>());
      expect_close(actual.cpu(), expected, kRoundings * kEpsBf16 * size);
    };
    expect_near(ours.value, exact.value);
    for (size_t i = 0; i < exact.gradients.size(); ++i) {
      SCOPED_TRACE("gradient " + std::to_string(i));
      expect_near(ours.gradients[i], exact.gradients[i]);
    }
  }
};

TEST_F(CudaAttentionTest, CausalFromTheBottomRight) {
  for (const int64_t rows : {1, 7, 130, 512}) {
    for (const int64_t before : {0, 1, 300}) {
      SCOPED_TRACE(::testing::Message() << rows << " rows after " << before);
      expect_right({.batch = 2, .rows = rows, .keys = before + rows}, false);
    }
  }
}

TEST_F(CudaAttentionTest, HeadsShareKeys) {
  for (const int64_t kv_heads : {1, 2, 8}) {
    SCOPED_TRACE(kv_heads);
    expect_right({.rows = 100, .keys = 240, .heads = 8, .kv_heads = kv_heads, .head_dim = 128}, false);
  }
}

TEST_F(CudaAttentionTest, Gate) {
  expect_right({.batch = 2, .rows = 100, .keys = 350}, true);
  expect_right({.rows = 1, .keys = 40, .heads = 8, .kv_heads = 2, .head_dim = 128}, true);
}

}  // namespace
}  // namespace beacon::ops::autograd
