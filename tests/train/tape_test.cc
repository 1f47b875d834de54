// The tape, window by window, against one graph over the whole sequence.
#include "train/tape.h"

#include <torch/csrc/autograd/variable.h>

#include <random>

#include "ops/pretend_device.h"
#include "train/sequence_loss.h"
#include "train/whole_graph.h"
#include "window/labels.h"

namespace beacon {
namespace {

using namespace beacon::testing;
using ops::autograd::Recording;

// Gradients relative to the largest of their tensor. Sums of some hundred f32 terms are off by some 1e-6; a
// row that gets a wrong gradient, or none, shows at 1e-2 and more.
constexpr double kTolerance = 5e-5;
constexpr double kVisible = 1e-3;

struct TapeCase {
  const char* name = "";
  WindowOptions options;
  int64_t tokens = 61;
  int64_t batch = 1;
  bool gate = false;
  int64_t truncate = 0;
  const char* lora = "";  // targets; beacons then have only a q and a v of their own
};

WindowOptions windows(int64_t window, int64_t stride, int64_t sink) {
  WindowOptions o;
  o.training = true;
  o.window = window;
  o.stride = stride;
  o.sink = sink;
  o.ratio.ratios = {2, 4, 8};
  return o;
}

WindowOptions appended(int64_t stride, BeaconAttention attention) {
  WindowOptions o = windows(16, stride, 1);
  o.placement = Placement::kAppend;
  o.attention = attention;
  return o;
}

WindowOptions parallel() {
  WindowOptions o = windows(8, 8, 1);
  o.parallel_windows = 2;
  return o;
}

WindowOptions raw_allowed() {
  WindowOptions o = windows(8, 8, 0);
  o.ratio.ratios = {0, 4};
  return o;
}

WindowOptions hidden_beacons() {
  WindowOptions o = windows(8, 8, 0);
  o.attention = BeaconAttention::kStepExpansion;
  o.attend_prev = false;
  return o;
}

WindowOptions echoes(int64_t stride) {
  WindowOptions o = windows(16, stride, 1);
  o.attention = BeaconAttention::kEcho;
  return o;
}

WindowOptions chosen_echoes(int64_t stride) {
  WindowOptions o = echoes(stride);
  o.attention = BeaconAttention::kChosenEcho;
  return o;
}

// Named in failures instead of dumping its bytes.
void PrintTo(const TapeCase& c, std::ostream* out) { *out << c.name; }

const TapeCase kCases[] = {
    {"interleave", windows(16, 16, 0)},
    {"rolling_with_sink", windows(16, 8, 1)},
    {"rolling_not_dividing", windows(16, 12, 3), 75},
    {"append_full", appended(16, BeaconAttention::kFullCoverage)},
    {"append_rolling_step_expansion", appended(8, BeaconAttention::kStepExpansion)},
    {"append_segmentation", appended(16, BeaconAttention::kSegmentation)},
    {"interleave_step_expansion", hidden_beacons()},
    {"echoes", echoes(16)},
    {"rolling_echoes_in_a_batch", echoes(8), 61, 2},
    {"chosen_echoes", chosen_echoes(16)},
    {"rolling_chosen_echoes", chosen_echoes(8)},
    {"chosen_echoes_in_a_batch", chosen_echoes(8), 61, 3},
    {"gated_echoes", echoes(12), 61, 1, true},
    {"parallel_windows", parallel()},
    {"ratio_zero", raw_allowed()},
    {"gate", windows(16, 8, 1), 61, 1, true},
    {"batch_of_two", windows(16, 8, 1), 61, 2, true},
    {"one_window", windows(64, 64, 0)},
    {"truncated_after_one", windows(8, 8, 0), 61, 1, false, 1},
    {"truncated_after_two", windows(16, 8, 1), 75, 1, true, 2},
    {"lora", windows(16, 8, 1), 61, 1, true, 0, "qkvo"},
    {"lora_of_some", windows(16, 16, 0), 61, 2, false, 0, "ko"},
    {"lora_truncated", windows(8, 8, 0), 61, 1, false, 1, "qkvo"},
    {"lora_without_memory", windows(64, 64, 0), 61, 1, false, 0, "qv"},
};

class TapeTest : public ::testing::TestWithParam<TapeCase> {
 protected:
  void SetUp() override {
    at::manual_seed(7);
    config_ = tiny_config();
    weights_ = tiny_weights(config_);
    if (GetParam().gate) {
      for (LayerWeights& layer : weights_.layers) layer.beacon.gate = at::tensor({-3.0F, 0.5F, 1.5F, -0.5F});
    }
    std::mt19937 generator(11);
    for (int64_t i = 0; i < GetParam().tokens * GetParam().batch; ++i) {
      ids_.push_back(static_cast<int32_t>(generator() % 20));
    }
  }

  RecordedNetwork network(Recording recording, at::Device device = at::kCPU) const {
    const std::optional<float> gate = GetParam().gate ? std::optional(0.0F) : std::nullopt;
    const std::string targets = GetParam().lora;
    const bool all = targets.empty();
    BeaconParameters parameters = BeaconParameters::from(
        config_, weights_, {.q = true, .k = all, .v = true, .o = all, .mlp = all}, gate);
    if (!all) add_lora(parameters, targets);
    parameters.move_to(device);
    return {config_,
            frozen_base(weights_, at::kFloat, device),
            parameters,
            ops::Rope(config_.rope, config_.head_dim, config_.max_position_embeddings),
            {recording, at::kFloat, device}};
  }

  // With a B that is not zero: else A would have no gradient.
  void add_lora(BeaconParameters& parameters, const std::string& targets) const {
    LoraConfig lora{.rank = 3, .alpha = 6};
    for (const char target : targets) lora.add(target);
    parameters.add_lora(weights_, lora, 5);
    at::manual_seed(19);
    for (const NamedParameter& p : parameters.named()) {
      const auto name = parse_lora_tensor_name(p.name);
      if (name && name->matrix == 'B') p.tensor.detach().normal_(0.0, 0.2);
    }
  }

  double run(const RecordedNetwork& network, const TapeOptions& options,
             const std::function<void()>& before_last = {}) const {
    const TapeCase& c = GetParam();
    const SequencePlan plan = plan_sequence(c.options, c.tokens, worth_of(ids_));
    std::vector<std::vector<int32_t>> labels;
    for (int64_t b = 0; b < c.batch; ++b) {
      labels.push_back(
          shifted_labels(c.options, {ids_.begin() + b * c.tokens, ids_.begin() + (b + 1) * c.tokens}));
    }
    SequenceLoss loss(network, plan, labels, {}, {}, {});
    Tape(network, plan, ids_, options).run(loss, before_last);
    return loss.sums().cross_entropy;
  }

  // Batch rows with plans of their own one after the other: sums of losses and gradients.
  WholeGraphResult whole_graph(const BeaconParameters& parameters) const {
    const TapeCase& c = GetParam();
    const bool alone = c.options.attention == BeaconAttention::kChosenEcho;
    WholeGraphResult sum;
    for (int64_t b = 0; b < (alone ? c.batch : 1); ++b) {
      const auto begin = ids_.begin() + b * c.tokens;
      const std::vector<int32_t> ids(begin, alone ? begin + c.tokens : ids_.end());
      const WholeGraphResult one =
          run_whole_graph(config_, weights_, parameters, c.options, ids, alone ? 1 : c.batch, c.truncate);
      sum.loss += one.loss;
      for (const auto& [name, gradient] : one.gradients) {
        at::Tensor& total = sum.gradients[name];
        total = total.defined() ? total + gradient : gradient;
      }
    }
    return sum;
  }

  ModelConfig config_;
  ModelWeights weights_;
  std::vector<int32_t> ids_;
};

TEST_P(TapeTest, EqualsOneGraphOverTheWholeSequence) {
  const TapeCase& c = GetParam();
  for (const Recording recording : {Recording::kPlain, Recording::kFused}) {
    const RecordedNetwork net = network(recording);
    const WholeGraphResult expected = whole_graph(net.parameters());
    const double loss = run(net, {.truncate_steps = c.truncate});
    EXPECT_NEAR(loss / expected.loss, 1.0, 1e-5);
    for (const NamedParameter& p : net.parameters().named()) {
      SCOPED_TRACE(p.name);
      const at::Tensor& wanted = expected.gradients.at(p.name);
      const double largest = wanted.abs().max().item<double>();
      if (p.kind == ParameterKind::kLora) {
        EXPECT_GT(largest, kVisible);
      }
      const at::Tensor ours = p.tensor.grad().defined() ? p.tensor.grad() : at::zeros_like(p.tensor.detach());
      expect_close(ours, wanted, kTolerance * largest + 1e-12);
    }
  }
}

TEST_P(TapeTest, RecomputingGivesTheSameBits) {
  const int64_t truncate = GetParam().truncate;
  const RecordedNetwork kept = network(Recording::kFused), again = network(Recording::kFused);
  EXPECT_EQ(run(kept, {.recompute = false, .truncate_steps = truncate}),
            run(again, {.recompute = true, .truncate_steps = truncate}));
  const auto expected = kept.parameters().named(), actual = again.parameters().named();
  for (size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(expected[i].name);
    ASSERT_EQ(expected[i].tensor.grad().defined(), actual[i].tensor.grad().defined());
    if (expected[i].tensor.grad().defined()) expect_equal(actual[i].tensor.grad(), expected[i].tensor.grad());
  }
}

struct CountAdditions : torch::autograd::PostAccumulateGradHook {
  explicit CountAdditions(int& additions) : additions(additions) {}
  void operator()(const at::Tensor& /*parameter*/) override { ++additions; }
  int& additions;
};

// Then a gradient can be sent away when it is added to.
TEST_P(TapeTest, BeforeTheLastEveryGradientIsAddedToAtMostOnceMore) {
  const RecordedNetwork net = network(Recording::kFused);
  const auto parameters = net.parameters().named();
  std::vector<int> additions(parameters.size());
  for (size_t i = 0; i < parameters.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameters[i].tensor,
                                                   std::make_unique<CountAdditions>(additions[i]));
  }
  int calls = 0;
  run(net, {.truncate_steps = GetParam().truncate}, [&] {
    ++calls;
    additions.assign(additions.size(), 0);
  });
  EXPECT_EQ(calls, 1);
  for (size_t i = 0; i < parameters.size(); ++i) EXPECT_LE(additions[i], 1) << parameters[i].name;
}

TEST_P(TapeTest, ADeviceOfItsOwnGivesTheSame) {
  const at::Device device = pretend_device();
  const RecordedNetwork host = network(Recording::kPlain), there = network(Recording::kFused, device);
  const TapeOptions options{.truncate_steps = GetParam().truncate};
  EXPECT_NEAR(run(there, options) / run(host, options), 1.0, 1e-6);
  const auto expected = host.parameters().named(), actual = there.parameters().named();
  for (size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE(expected[i].name);
    EXPECT_EQ(actual[i].tensor.device(), device);
    ASSERT_EQ(actual[i].tensor.grad().defined(), expected[i].tensor.grad().defined());
    if (!expected[i].tensor.grad().defined()) continue;
    const at::Tensor wanted = expected[i].tensor.grad();
    expect_close(actual[i].tensor.grad().cpu(), wanted,
                 kTolerance * wanted.abs().max().item<double>() + 1e-12);
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TapeTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

class Truncation : public TensorTest {};

// The test above can fail: without truncation, or with another, the gradients differ visibly.
TEST_F(Truncation, Matters) {
  const ModelConfig config = tiny_config();
  const ModelWeights weights = tiny_weights(config);
  const BeaconParameters parameters =
      BeaconParameters::from(config, weights, {.q = true, .k = true, .v = true}, std::nullopt);
  std::vector<int32_t> ids;
  for (int i = 0; i < 61; ++i) ids.push_back(i * 7 % 20);
  const char* name = "model.layers.0.self_attn.beacon_v_proj.weight";
  std::vector<at::Tensor> gradients;
  for (const int64_t steps : {0, 1, 2}) {
    gradients.push_back(
        run_whole_graph(config, weights, parameters, windows(8, 8, 0), ids, 1, steps).gradients.at(name));
  }
  const double largest = gradients[0].abs().max().item<double>();
  for (const auto& [a, b] : {std::pair(0, 1), std::pair(0, 2), std::pair(1, 2)}) {
    const auto difference = gradients[static_cast<size_t>(a)] - gradients[static_cast<size_t>(b)];
    EXPECT_GT(difference.abs().max().item<double>(), kVisible * largest);
  }
}

}  // namespace
}  // namespace beacon
