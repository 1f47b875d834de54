// Operations on single rows: norm, feed-forward gate, rotation, frozen layers.
#include "ops/autograd/frozen_linear.h"
#include "ops/autograd/gradient_check.h"
#include "ops/autograd/rms_norm.h"
#include "ops/autograd/rope.h"
#include "ops/autograd/swiglu.h"

namespace beacon::ops::autograd {
namespace {

class AutogradRowsTest : public AutogradTest {};
BEACON_FOR_EVERY_MODE(AutogradRowsTest);

TEST_P(AutogradRowsTest, RmsNorm) {
  for (const auto input_type : {at::kFloat, compute()}) {
    for (const int64_t rows : {1, 5, 40}) {
      const at::Tensor x = random({2, rows, 50}), weight = at::randn({50});
      if (rows > 1) x.select(1, 1).mul_(0x1p-9);  // eps counts here
      const Formula ours = [&](const std::vector<at::Tensor>& leaves) {
        return rms_norm(leaves[0].to(input_type), weight, 1e-5, context());
      };
      const Formula exact = [&](const std::vector<at::Tensor>& leaves) {
        const at::Tensor mean = leaves[0].square().mean(-1, true);
        return leaves[0] / (mean + 1e-5).sqrt() * weight.to(at::kDouble);
      };
      const at::Tensor direction = random({2, rows, 50});
      const Evaluation actual = evaluate(ours, {x}, direction),
                       expected = evaluate_exactly(exact, {x}, direction);
      expect_near(actual, expected, 8);
      // Rows apart: one row's gradient is 300 times that of the others.
      for (int64_t r = 0; r < rows; ++r)
        expect_near(actual.gradients[0].select(1, r), expected.gradients[0].select(1, r), 16);
    }
  }
}

TEST_P(AutogradRowsTest, TheResidualStreamStaysF32) {
  const at::Tensor x = at::randn({3, 50}).requires_grad_(), weight = at::ones({50});
  const at::Tensor y = rms_norm(x, weight, 1e-5, context());
  EXPECT_EQ(y.scalar_type(), compute());
  y.sum().backward();
  EXPECT_EQ(x.grad().scalar_type(), at::kFloat);
}

TEST_P(AutogradRowsTest, Swiglu) {
  const at::Tensor gate = random({7, 333}) * 4, up = random({7, 333});
  const Formula ours = [&](const std::vector<at::Tensor>& leaves) {
    return swiglu(leaves[0], leaves[1], context());
  };
  const Formula exact = [](const std::vector<at::Tensor>& leaves) {
    return leaves[0] / (1 + (-leaves[0]).exp()) * leaves[1];
  };
  const at::Tensor direction = random({7, 333});
  expect_near(evaluate(ours, {gate, up}, direction), evaluate_exactly(exact, {gate, up}, direction), 4);
}

TEST_P(AutogradRowsTest, SwigluFarFromZero) {
  const at::Tensor gate = at::tensor({-200.0F, -90.0F, -20.0F, 0.0F, 20.0F, 90.0F, 200.0F}),
                   up = at::ones({7});
  const Formula ours = [&](const std::vector<at::Tensor>& leaves) {
    return swiglu(leaves[0], leaves[1], context());
  };
  const Evaluation actual = evaluate(ours, {gate, up}, at::ones({7}));
  const at::Tensor slope = at::tensor({0.0F, 0.0F, 0.0F, 0.5F, 1.0F, 1.0F, 1.0F});
  expect_close(actual.gradients[0], slope, 1e-6);
  expect_close(actual.gradients[1], gate.clamp_min(0), 1e-6);
}

TEST_P(AutogradRowsTest, Rope) {
  const std::vector<int32_t> positions = {0, 3, 4, 900};
  const at::Tensor x = random({2, 4, 3, 12});
  const at::Tensor angle = angles(positions, plain_frequencies(1e4, 12)).to(at::kFloat).to(at::kDouble);
  const RopeTable table{angle.cos().to(at::kFloat), angle.sin().to(at::kFloat)};
  const Formula ours = [&](const std::vector<at::Tensor>& leaves) {
    return rope(leaves[0], table, context());
  };
  const Formula exact = [&](const std::vector<at::Tensor>& leaves) {
    return turned(leaves[0].transpose(1, 2), angle).transpose(1, 2);
  };
  const at::Tensor direction = random({2, 4, 3, 12});
  expect_near(evaluate(ours, {x}, direction), evaluate_exactly(exact, {x}, direction), 4);
}

TEST_P(AutogradRowsTest, RopeOnASlice) {
  const at::Tensor x = random({2, 4, 5, 12});
  const at::Tensor angle = angles({1, 2, 3, 4}, plain_frequencies(1e4, 12));
  const RopeTable table{angle.cos().to(at::kFloat), angle.sin().to(at::kFloat)};
  const Formula whole = [&](const std::vector<at::Tensor>& leaves) {
    return rope(leaves[0], table, context()).slice(2, 1, 4);
  };
  const Formula slice = [&](const std::vector<at::Tensor>& leaves) {
    return rope(leaves[0].slice(2, 1, 4), table, context());
  };
  const at::Tensor direction = random({2, 4, 3, 12});
  const Evaluation a = evaluate(whole, {x}, direction), b = evaluate(slice, {x}, direction);
  expect_equal(a.value, b.value);
  expect_equal(a.gradients[0], b.gradients[0]);
}

TEST_P(AutogradRowsTest, FrozenLinear) {
  for (const bool with_bias : {false, true}) {
    const at::Tensor x = random({2, 7, 40}), weight = random({30, 40});
    const at::Tensor bias = with_bias ? at::randn({30}) : at::Tensor();
    const Formula ours = [&](const std::vector<at::Tensor>& leaves) {
      return frozen_linear(leaves[0], weight.to(compute()), bias, context());
    };
    const Formula exact = [&](const std::vector<at::Tensor>& leaves) {
      const at::Tensor y = at::matmul(leaves[0], weight.to(at::kDouble).t());
      return with_bias ? y + bias.to(at::kDouble) : y;
    };
    const at::Tensor direction = random({2, 7, 30});
    expect_near(evaluate(ours, {x}, direction), evaluate_exactly(exact, {x}, direction), 16);
  }
}

TEST_P(AutogradRowsTest, WeightsAreNeverDifferentiated) {
  const at::Tensor x = random({3, 40}).requires_grad_(), weight = random({30, 40}).requires_grad_();
  const at::Tensor bias = at::randn({30}).requires_grad_(), norm = at::ones({40}).requires_grad_();
  const at::Tensor normed = rms_norm(x, norm, 1e-5, context());
  frozen_linear(normed, weight, bias, context()).sum().backward();
  EXPECT_TRUE(x.grad().defined());
  EXPECT_FALSE(weight.grad().defined());
  EXPECT_FALSE(bias.grad().defined());
  EXPECT_FALSE(norm.grad().defined());
}

}  // namespace
}  // namespace beacon::ops::autograd
