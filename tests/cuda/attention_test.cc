// The GPU's kernels of attention against the plain twin, values and gradients.
#include "ops/autograd/attention.h"

#include <torch/csrc/autograd/autograd.h>

#include "cuda/cuda_fixture.h"

namespace beacon::ops::autograd {
namespace {

using namespace beacon::testing;

struct Shape {
  int64_t batch = 1, rows = 1, keys = 1, heads = 9, kv_heads = 3, head_dim = 64;
};

enum class Rule { kCausal, kGated, kMasked };

// Causal from the bottom right, with every eighth of the new rows hidden from all others, as echoes are.
at::Tensor echo_mask(int64_t rows, int64_t keys) {
  at::Tensor mask = at::ones({rows, keys}, at::kByte).tril(keys - rows);
  for (int64_t r = 7; r < rows; r += 8) {
    mask.select(1, keys - rows + r).zero_();
    mask[r][keys - rows + r] = 1;
  }
  return mask;
}

struct Evaluation {
  at::Tensor value;
  std::vector<at::Tensor> gradients;
};

class CudaAttentionTest : public CudaTest {
 protected:
  Evaluation evaluate(const std::vector<at::Tensor>& inputs, const AttentionOptions& wanted,
                      const at::Tensor& direction, const RecordingContext& context) const {
    std::vector<at::Tensor> leaves;
    for (const at::Tensor& input : inputs)
      leaves.push_back(input.to(context.device).detach().clone().requires_grad_(true));
    AttentionOptions options = wanted;
    if (options.mask.defined()) options.mask = options.mask.to(context.device);
    if (leaves.size() > 3) {
      options.gate = leaves[3];
      options.gated_keys = options.gated_keys.to(context.device);
    }
    const at::Tensor value = attention(leaves[0], leaves[1], leaves[2], options, context);
    const at::Tensor total = (value.to(at::kFloat) * direction.to(context.device)).sum();
    return {value.detach().cpu(), torch::autograd::grad({total}, leaves)};
  }

  // bf16 on the GPU against f32 in plain torch, within roundings of the largest number.
  void expect_right(const Shape& s, Rule rule) {
    const auto random = [](at::IntArrayRef shape) {
      return at::randn(shape).to(at::kBFloat16).to(at::kFloat);
    };
    std::vector<at::Tensor> inputs = {random({s.batch, s.rows, s.heads, s.head_dim}),
                                      random({s.batch, s.keys, s.kv_heads, s.head_dim}),
                                      random({s.batch, s.keys, s.kv_heads, s.head_dim})};
    AttentionOptions options;
    options.scale = 1.0 / std::sqrt(static_cast<double>(s.head_dim));
    if (rule == Rule::kGated) {
      inputs.push_back(at::linspace(-4.03, 2.0, s.heads));
      options.gated_keys = at::arange(s.keys).remainder(3).eq(0).to(at::kByte);
    }
    if (rule == Rule::kMasked) options.mask = echo_mask(s.rows, s.keys);
    const at::Tensor direction = random({s.batch, s.rows, s.heads, s.head_dim});
    const Evaluation ours = evaluate(inputs, options, direction, {Recording::kFused, at::kBFloat16, gpu()});
    const Evaluation exact = evaluate(inputs, options, direction, {Recording::kPlain, at::kFloat});
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
      expect_right({.batch = 2, .rows = rows, .keys = before + rows}, Rule::kCausal);
    }
  }
}

TEST_F(CudaAttentionTest, HeadsShareKeys) {
  for (const int64_t kv_heads : {1, 2, 8}) {
    SCOPED_TRACE(kv_heads);
    expect_right({.rows = 100, .keys = 240, .heads = 8, .kv_heads = kv_heads, .head_dim = 128},
                 Rule::kCausal);
  }
}

TEST_F(CudaAttentionTest, Masked) {
  for (const int64_t rows : {1, 7, 130, 577}) {
    for (const int64_t before : {0, 1, 300}) {
      SCOPED_TRACE(::testing::Message() << rows << " rows after " << before);
      expect_right({.batch = 2, .rows = rows, .keys = before + rows}, Rule::kMasked);
    }
  }
  expect_right({.rows = 100, .keys = 240, .heads = 8, .kv_heads = 2, .head_dim = 128}, Rule::kMasked);
}

TEST_F(CudaAttentionTest, Gate) {
  expect_right({.batch = 2, .rows = 100, .keys = 350}, Rule::kGated);
  expect_right({.rows = 1, .keys = 40, .heads = 8, .kv_heads = 2, .head_dim = 128}, Rule::kGated);
}

}  // namespace
}  // namespace beacon::ops::autograd
