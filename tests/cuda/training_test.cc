// Losses and gradients of a sequence on the GPU against those in host memory.
#include <algorithm>
#include <map>

#include "cuda/cuda_fixture.h"
#include "model/slow_twin.h"
#include "train/sequence_loss.h"
#include "train/tape.h"
#include "window/labels.h"

namespace beacon {
namespace {

using namespace beacon::testing;
using ops::autograd::RecordingContext;

struct Outcome {
  double loss = 0.0;
  std::map<std::string, at::Tensor> gradients;  // in host memory
};

// Full coverage is flash attention's mask; echoes have one of their own.
class CudaTrainingTest : public CudaTest, public ::testing::WithParamInterface<BeaconAttention> {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (IsSkipped()) return;
    config_ = tiny_config();
    weights_ = tiny_weights(config_);
    options_.training = true;
    options_.window = 16;
    options_.stride = 8;
    options_.sink = 1;
    options_.attention = GetParam();
    options_.ratio.ratios = {2, 4, 8};
  }

  Outcome run(const RecordingContext& context, int64_t tokens = 61) const {
    const bool echo = is_echo(GetParam());
    BeaconParameters parameters = BeaconParameters::from(config_, weights_, {.q = true, .k = true, .v = true},
                                                         echo ? std::nullopt : std::optional(-1.0F));
    parameters.move_to(context.device);
    const RecordedNetwork net(config_, frozen_base(weights_, context.compute, context.device), parameters,
                              ops::Rope(config_.rope, config_.head_dim, config_.max_position_embeddings),
                              context);
    std::vector<int32_t> ids;
    std::vector<float> worth;
    for (int64_t i = 0; i < 2 * tokens; ++i) {
      ids.push_back(static_cast<int32_t>(i * 7 % 20));
      if (GetParam() == BeaconAttention::kChosenEcho) worth.push_back(static_cast<float>(i * i % 13));
    }
    const SequencePlan plan = plan_sequence(options_, tokens, worth);
    std::vector<std::vector<int32_t>> labels;
    for (int b = 0; b < 2; ++b) {
      labels.push_back(shifted_labels(options_, {ids.begin() + b * tokens, ids.begin() + (b + 1) * tokens}));
    }
    SequenceLoss loss(net, plan, labels, {}, {}, {});
    Tape(net, plan, ids, {}).run(loss);
    Outcome outcome{loss.sums().cross_entropy, {}};
    for (const NamedParameter& p : parameters.named()) outcome.gradients[p.name] = p.tensor.grad().cpu();
    return outcome;
  }

  void expect_near(const Outcome& actual, const Outcome& expected, double relative) const {
    EXPECT_NEAR(actual.loss / expected.loss, 1.0, relative);
    for (const auto& [name, wanted] : expected.gradients) {
      SCOPED_TRACE(name);
      expect_close(actual.gradients.at(name), wanted, relative * wanted.abs().max().item<double>() + 1e-12);
    }
  }

  ModelConfig config_;
  ModelWeights weights_;
  WindowOptions options_;
};

INSTANTIATE_TEST_SUITE_P(Rules, CudaTrainingTest,
                         ::testing::Values(BeaconAttention::kFullCoverage, BeaconAttention::kEcho,
                                           BeaconAttention::kChosenEcho),
                         [](const auto& info) {
                           std::string name = to_string(info.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(CudaTrainingTest, F32AgreesWithTheProcessor) {
  expect_near(run({ops::autograd::Recording::kFused, at::kFloat, gpu()}),
              run({ops::autograd::Recording::kFused, at::kFloat}), 1e-4);
}

// Rounded activations: a wrong mask, gate or position shows at tens of percent.
TEST_P(CudaTrainingTest, Bf16IsNear) {
  expect_near(run({ops::autograd::Recording::kFused, at::kBFloat16, gpu()}),
              run({ops::autograd::Recording::kFused, at::kFloat}), 0.08);
}

TEST_P(CudaTrainingTest, TheSameBitsAgain) {
  const RecordingContext context{ops::autograd::Recording::kFused, at::kBFloat16, gpu()};
  ops::ask_for_the_same_bits();
  // Enough keys for flash attention to share them between blocks.
  options_.window = 1024;
  options_.stride = 512;
  const Outcome first = run(context, 2500), second = run(context, 2500);
  EXPECT_EQ(first.loss, second.loss);
  for (const auto& [name, gradient] : first.gradients) {
    SCOPED_TRACE(name);
    expect_equal(second.gradients.at(name), gradient);
  }
}

}  // namespace
}  // namespace beacon
