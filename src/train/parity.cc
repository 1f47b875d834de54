#include "train/parity.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>

#include "base/check.h"
#include "engine/golden_case.h"
#include "train/sequence_loss.h"
#include "train/sequence_plan.h"
#include "train/tape.h"
#include "window/labels.h"

namespace beacon {
namespace {

namespace recorded = ops::autograd;

// The loss from all logits, written out: gradients reach the head as well.
class LogitsLoss : public TapeLoss {
 public:
  LogitsLoss(const RecordedNetwork& network, const SequencePlan& plan, const std::vector<int32_t>& labels)
      : network_(network), plan_(plan), labels_(labels) {
    logits_ = at::zeros({plan.num_tokens, network.config().vocab_size}, at::kFloat);
    token_loss_ = at::zeros({plan.num_tokens}, at::kFloat);
  }

  std::vector<int64_t> rows(size_t step) const override {
    std::vector<int64_t> out;
    const std::vector<int64_t>& tokens = plan_.steps[step].tokens;
    for (size_t r = 0; r < tokens.size(); ++r) {
      if (tokens[r] >= 0) out.push_back(static_cast<int64_t>(r));
    }
    return out;
  }

  at::Tensor loss(size_t step, const at::Tensor& hidden) override {
    const Step& s = plan_.steps[step].step;
    const int64_t count = s.token_end - s.token_begin;
    const at::Tensor logits = at::matmul(hidden[0], network_.base().lm_head.t());
    const at::Tensor labels = at::tensor(
        std::vector<int64_t>(labels_.begin() + s.token_begin, labels_.begin() + s.token_end), at::kLong);
    const at::Tensor losses =
        at::nll_loss(at::log_softmax(logits, -1), labels, {}, at::Reduction::None, kIgnoredLabel);
    logits_.narrow(0, s.token_begin, count).copy_(logits.detach());
    token_loss_.narrow(0, s.token_begin, count).copy_(losses.detach());
    return losses.sum();
  }

  const at::Tensor& logits() const { return logits_; }
  const at::Tensor& token_loss() const { return token_loss_; }

 private:
  const RecordedNetwork& network_;
  const SequencePlan& plan_;
  const std::vector<int32_t>& labels_;
  at::Tensor logits_;      // [n, V]
  at::Tensor token_loss_;  // [n]
};

class TrainingCase {
 public:
  TrainingCase(const std::filesystem::path& folder, const std::string& device) : golden_(folder, device) {}

  std::vector<ParityLine> run() {
    if (!golden_.has("train_loss")) return {};
    WindowOptions options = golden_.window();
    options.training = true;
    options.ratio.ratios = golden_.ratios("train_ratios");
    options.ratio.mix = RatioPolicy::Mix::kForced;
    ids_ = golden_.ids();
    plan_ = plan_sequence(options, static_cast<int64_t>(ids_.size()));
    labels_ = shifted_labels(options, ids_);
    as_trained();
    if (golden_.model().device.is_cpu()) with_all_gradients();
    return golden_.take_lines();
  }

 private:
  using Named = std::vector<std::pair<std::string, at::Tensor>>;

  RecordedNetwork network(RecordedBase base, recorded::Recording recording) const {
    const Model::Impl& model = golden_.model();
    const ModelConfig& config = model.net.config();
    const ModelWeights& weights = model.net.weights();
    BeaconParameters parameters = BeaconParameters::from(config, weights, model.beacons.params, std::nullopt);
    parameters.move_to(model.device);
    return {config, std::move(base), parameters, model.net.rope(), {recording, at::kFloat, model.device}};
  }

  // The way the trainer goes: frozen base, fused operations, no logits of all rows.
  void as_trained() {
    const RecordedNetwork net =
        network(frozen_base(golden_.model().net.weights(), at::kFloat, golden_.model().device),
                recorded::Recording::kFused);
    const std::vector<std::vector<int32_t>> labels = {labels_};
    SequenceLoss loss(net, plan_, labels, {}, {}, {});
    Tape(net, plan_, ids_, {.recompute = true}).run(loss);
    const at::Tensor mean = at::full({1}, loss.sums().cross_entropy / loss.sums().weight, at::kDouble);
    golden_.compare("train_loss", mean, golden_.tensor("train_loss"));
    Named parameters;
    for (const NamedParameter& p : net.parameters().named()) parameters.emplace_back(p.name, p.tensor);
    compare_gradients("grad", parameters, loss.sums().weight);
  }

  // Through torch's own operations, with everything the case holds.
  void with_all_gradients() {
    Named base;
    const RecordedNetwork net =
        network(trainable_base(golden_.model().net.weights(), base), recorded::Recording::kPlain);
    LogitsLoss loss(net, plan_, labels_);
    Tape(net, plan_, ids_, {}).run(loss);
    golden_.compare("train.logits", loss.logits(), golden_.tensor("train.logits"));
    golden_.compare("train.token_loss", loss.token_loss(), golden_.tensor("train.token_loss"));
    compare_gradients("grad_all", base, std::count_if(labels_.begin(), labels_.end(), [](int32_t l) {
                        return l != kIgnoredLabel;
                      }));
  }

  void compare_gradients(const std::string& section, const Named& parameters, double labels) {
    double worst = 0.0;
    int found = 0;
    std::string worst_name = "none";
    for (const TensorView& view : golden_.tensors()) {
      if (!view.name.starts_with(section + ".")) continue;
      ++found;
      const std::string name = view.name.substr(section.size() + 1);
      const auto ours =
          std::find_if(parameters.begin(), parameters.end(), [&](const auto& p) { return p.first == name; });
      const double diff = ours == parameters.end()
                              ? std::numeric_limits<double>::infinity()
                              : relative_diff(ours->second, golden_.tensor(view.name), labels);
      if (diff <= worst) continue;
      worst = diff;
      worst_name = name;
    }
    if (found == 0) return;
    golden_.add(section, section, worst <= kParityTolerance, worst, kParityTolerance,
                fmt::format("{} tensors, worst {}", found, worst_name));
  }

  // Ours are gradients of the sum, the original's of the mean.
  static double relative_diff(const at::Tensor& parameter, const at::Tensor& expected, int64_t labels) {
    const double largest = expected.abs().max().item<double>();
    if (!parameter.grad().defined()) return largest == 0.0 ? 0.0 : std::numeric_limits<double>::infinity();
    const at::Tensor ours = parameter.grad().cpu().to(at::kDouble) / static_cast<double>(labels);
    return max_diff(ours.view(expected.sizes()), expected) / std::max(largest, 1e-30);
  }

  GoldenCase golden_;
  std::vector<int32_t> ids_;
  std::vector<int32_t> labels_;
  SequencePlan plan_;
};

}  // namespace

std::vector<ParityLine> run_training_parity_case(const std::filesystem::path& folder,
                                                 const std::string& device) {
  try {
    return TrainingCase(folder, device).run();
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kBadFile, "case.json of {} is not a golden case: {}", folder.string(), error.what());
  }
}

}  // namespace beacon
