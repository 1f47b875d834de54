#pragma once
// What the tests of differentiable operations share: every test runs for both recordings and both compute
// types, and compares values and gradients with a formula written out in double.
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "ops/autograd/recording.h"
#include "ops/tensor_check.h"

namespace beacon::ops::autograd {

using namespace beacon::testing;

using Formula = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

// The value of a formula and the gradients of sum(value * direction) to its inputs.
struct Evaluation {
  at::Tensor value;
  std::vector<at::Tensor> gradients;
};

// Inputs become fresh leaves, so that evaluations do not see each other. `direction` has the value's shape.
inline Evaluation evaluate(const Formula& formula, const std::vector<at::Tensor>& inputs,
                           const at::Tensor& direction) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs)
    leaves.push_back(input.detach().clone().requires_grad_(input.is_floating_point()));
  Evaluation result;
  const at::Tensor value = formula(leaves);
  result.gradients = torch::autograd::grad({(value * direction.to(value.scalar_type())).sum()}, leaves);
  result.value = value.detach();
  return result;
}

// The same in double.
inline Evaluation evaluate_exactly(const Formula& formula, const std::vector<at::Tensor>& inputs,
                                   const at::Tensor& direction) {
  std::vector<at::Tensor> wide;
  for (const at::Tensor& input : inputs) wide.push_back(input.to(at::kDouble));
  return evaluate(formula, wide, direction.to(at::kDouble));
}

// Half a unit in the last place of 1 of a type.
inline double rounding_of(at::ScalarType type) { return type == at::kBFloat16 ? kEpsBf16 : kEpsF32; }

using Mode = std::tuple<Recording, at::ScalarType>;

class AutogradTest : public ::testing::TestWithParam<Mode> {
 protected:
  void SetUp() override { at::manual_seed(7); }
  RecordingContext context() const { return {std::get<0>(GetParam()), std::get<1>(GetParam())}; }
  at::ScalarType compute() const { return std::get<1>(GetParam()); }
  // Random numbers that the compute type holds exactly, as f32.
  at::Tensor random(at::IntArrayRef shape) const { return at::randn(shape).to(compute()).to(at::kFloat); }

  // Every element within `roundings` half units of the compute type of the largest expected one: sums of
  // many terms err by their size, not by that of the result.
  void expect_near(const at::Tensor& actual, const at::Tensor& expected, double roundings) const {
    ASSERT_TRUE(actual.defined() && expected.defined());
    if (expected.numel() == 0) return;
    const double size = std::max(expected.abs().max().item<double>(), least_size_);
    expect_close(actual, expected, roundings * rounding_of(compute()) * size + 1e-30);
  }
  void expect_near(const Evaluation& actual, const Evaluation& expected, double roundings) const {
    {
      SCOPED_TRACE("value");
      EXPECT_EQ(actual.value.scalar_type(), compute());
      expect_near(actual.value, expected.value, roundings);
    }
    ASSERT_EQ(actual.gradients.size(), expected.gradients.size());
    for (size_t i = 0; i < actual.gradients.size(); ++i) {
      SCOPED_TRACE("gradient " + std::to_string(i));
      expect_near(actual.gradients[i], expected.gradients[i], roundings);
    }
  }

  // Where results cancel (a softmax over one key has no gradient) their terms still have this size.
  double least_size_ = 0;
};

inline std::string mode_name(const ::testing::TestParamInfo<Mode>& info) {
  const auto [recording, type] = info.param;
  return std::string(recording == Recording::kPlain ? "plain" : "fused") +
         (type == at::kBFloat16 ? "_bf16" : "_f32");
}

#define BEACON_FOR_EVERY_MODE(suite)                                                                   \
  INSTANTIATE_TEST_SUITE_P(Modes, suite,                                                               \
                           ::testing::Combine(::testing::Values(Recording::kPlain, Recording::kFused), \
                                              ::testing::Values(at::kFloat, at::kBFloat16)),           \
                           mode_name)

}  // namespace beacon::ops::autograd
