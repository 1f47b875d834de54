#include "train/optimizer.h"

#include "ops/tensor_check.h"
#include "train/schedule.h"

namespace beacon {
namespace {

using namespace beacon::testing;

class AdamWTest : public TensorTest {
 protected:
  static NamedParameter parameter(ParameterKind kind, const at::Tensor& values) {
    return {"p", kind, values.clone().set_requires_grad(true)};
  }
};

// The algorithm written out in double: Loshchilov and Hutter 2019, algorithm 2.
TEST_F(AdamWTest, EqualsThePaper) {
  const AdamWOptions options{.beta1 = 0.8,
                             .beta2 = 0.95,
                             .epsilon = 1e-6,
                             .weight_decay = 0.1,
                             .gate_multiplier = 30,
                             .lora_multiplier = 0.5};
  const std::vector<NamedParameter> parameters = {parameter(ParameterKind::kProjection, at::randn({3, 5})),
                                                  parameter(ParameterKind::kGate, at::randn({4})),
                                                  parameter(ParameterKind::kLora, at::randn({2, 3}))};
  const double multipliers[] = {1, 30, 0.5};
  std::vector<at::Tensor> value, m, v;
  for (const NamedParameter& p : parameters) {
    value.push_back(p.tensor.detach().to(at::kDouble).clone());
    m.push_back(at::zeros_like(value.back()));
    v.push_back(at::zeros_like(value.back()));
  }
  AdamW adam(parameters, options);
  for (int t = 1; t <= 10; ++t) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      at::Tensor tensor = parameters[i].tensor;
      tensor.mutable_grad() = at::randn_like(tensor.detach());
      const at::Tensor g = tensor.grad().to(at::kDouble);
      const double rate = multipliers[i] * 1e-2;
      if (i != 1) value[i] = value[i] - rate * 0.1 * value[i];
      m[i] = 0.8 * m[i] + 0.2 * g;
      v[i] = 0.95 * v[i] + 0.05 * g * g;
      const at::Tensor m_hat = m[i] / (1 - std::pow(0.8, t)), v_hat = v[i] / (1 - std::pow(0.95, t));
      value[i] = value[i] - rate * m_hat / (v_hat.sqrt() + 1e-6);
    }
    adam.step(1e-2);
    adam.clear_gradients();
    for (size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_FALSE(parameters[i].tensor.grad().defined());
      // Ten updates of up to 0.3, each rounded to f32 a few times.
      expect_close(parameters[i].tensor.detach(), value[i], 1e-5);
    }
  }
  EXPECT_EQ(adam.updates(), 10);
}

TEST_F(AdamWTest, AMissingGradientIsZero) {
  const NamedParameter missing = parameter(ParameterKind::kProjection, at::ones({2}));
  NamedParameter zero = parameter(ParameterKind::kProjection, at::ones({2}));
  AdamW adam({missing, zero}, {});
  for (const double first : {1.0, 0.0, 0.0}) {
    at::Tensor a = missing.tensor, b = zero.tensor;
    if (first != 0.0) a.mutable_grad() = at::full({2}, first);
    b.mutable_grad() = at::full({2}, first);
    adam.step(0.1);
    adam.clear_gradients();
  }
  expect_equal(missing.tensor.detach(), zero.tensor.detach());
}

TEST_F(AdamWTest, ScalesGradientsAndGivesTheirNorm) {
  const NamedParameter a = parameter(ParameterKind::kProjection, at::ones({2})),
                       b = parameter(ParameterKind::kGate, at::ones({1}));
  AdamW adam({a, b}, {});
  EXPECT_EQ(adam.scale_gradients(1.0), 0.0);
  at::Tensor ta = a.tensor, tb = b.tensor;
  ta.mutable_grad() = at::tensor({3.0F, 0.0F});
  tb.mutable_grad() = at::tensor({4.0F});
  EXPECT_DOUBLE_EQ(adam.scale_gradients(1.0), 5.0);
  EXPECT_DOUBLE_EQ(adam.scale_gradients(0.5), 2.5);
  EXPECT_EQ(tb.grad().item<float>(), 2.0F);
}

TEST_F(AdamWTest, GoesOnFromItsMomentsWithTheSameBits) {
  const NamedParameter whole = parameter(ParameterKind::kProjection, at::randn({7}));
  AdamW straight({whole}, {});
  const auto step = [](const NamedParameter& p, AdamW& adam, float gradient) {
    at::Tensor tensor = p.tensor;
    tensor.mutable_grad() = at::full({7}, gradient);
    adam.step(1e-2);
  };
  step(whole, straight, 0.3F);
  const NamedParameter copy = parameter(ParameterKind::kProjection, whole.tensor.detach());
  AdamW resumed({copy}, {});
  resumed.restore(straight.first_moments(), straight.second_moments(), straight.updates());
  step(whole, straight, -0.2F);
  step(copy, resumed, -0.2F);
  expect_equal(copy.tensor.detach(), whole.tensor.detach());
}

TEST(ScheduleTest, RisesAndFalls) {
  Schedule s{.kind = ScheduleKind::kLinear, .peak = 1.0, .warmup = 4, .total = 14};
  const double linear[] = {0.25, 0.5, 0.75, 1.0, 1.0, 0.9, 0.8};
  for (int64_t i = 0; i < 7; ++i) EXPECT_NEAR(s.at(i), linear[i], 1e-12) << i;
  EXPECT_NEAR(s.at(13), 0.1, 1e-12);
  EXPECT_NEAR(s.at(14), 0.0, 1e-12);
  EXPECT_NEAR(s.at(99), 0.0, 1e-12);
  s.floor_share = 0.2;
  EXPECT_NEAR(s.at(99), 0.2, 1e-12);
  s.kind = ScheduleKind::kCosine;
  EXPECT_NEAR(s.at(9), 0.2 + 0.8 * 0.5, 1e-12);
  EXPECT_NEAR(s.at(99), 0.2, 1e-12);
  s.kind = ScheduleKind::kConstant;
  EXPECT_NEAR(s.at(99), 1.0, 1e-12);
}

TEST(ScheduleTest, NamesAreReadBack) {
  for (const ScheduleKind kind : {ScheduleKind::kConstant, ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    EXPECT_EQ(schedule_from_string(to_string(kind)), kind);
  }
  expect_error(ErrorCode::kInvalidArgument, "cosine", [] { schedule_from_string("exponential"); });
}

}  // namespace
}  // namespace beacon
