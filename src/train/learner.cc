#include "train/learner.h"

#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "ops/device.h"
#include "ops/embedding.h"
#include "train/flops.h"
#include "train/sequence_plan.h"
#include "train/tape.h"
#include "train/teacher.h"
#include "window/planner.h"

namespace beacon {
namespace {

namespace recorded = ops::autograd;

BeaconParams trained_projections(const TrainConfig& config) {
  const auto has = [&config](const char* name) {
    return std::find(config.parameters.begin(), config.parameters.end(), name) != config.parameters.end();
  };
  return {.q = has("q"), .k = has("k"), .v = has("v"), .o = has("o"), .mlp = has("mlp")};
}

template <typename Enum>
Enum choice(const std::string& name, std::initializer_list<Enum> choices) {
  for (const Enum c : choices) {
    if (name == to_string(c)) return c;
  }
  fail(ErrorCode::kInvalidArgument, "'{}' is not known", name);
}

ModelOptions model_options(const TrainConfig& config) {
  ModelOptions options;
  options.model = config.model;
  if (!config.adapter.empty()) options.adapter = config.adapter;
  options.threads = static_cast<int>(config.threads);
  if (config.compute == "f32") options.compute = ComputeType::kF32;
  if (config.compute == "bf16") options.compute = ComputeType::kBF16;
  if (config.gate) options.beacon_gate = static_cast<float>(*config.gate);
  return options;
}

// What an adapter to start from has learnt must not get lost.
void check_goes_on(const std::optional<LoraConfig>& had, const std::optional<LoraConfig>& wanted) {
  if (!had) return;
  require(wanted && wanted->rank == had->rank && wanted->alpha == had->alpha, ErrorCode::kInvalidArgument,
          "lora_rank, lora_alpha: expected {} and {:g} as in the adapter to start from, found {}", had->rank,
          had->alpha, wanted ? fmt::format("{} and {:g}", wanted->rank, wanted->alpha) : "no LoRA");
  for (const char target : kLoraTargets) {
    require(!had->has(target) || wanted->has(target), ErrorCode::kInvalidArgument,
            "lora_targets: expected {} among them, as in the adapter to start from", target);
  }
}

}  // namespace

WindowOptions training_window(const TrainConfig& config) {
  WindowOptions o;
  o.training = true;
  o.window = config.window;
  o.stride = config.stride;
  o.sink = config.sink;
  o.placement = choice(config.placement, {Placement::kInterleave, Placement::kAppend});
  o.attention = choice(config.attention, {BeaconAttention::kFullCoverage, BeaconAttention::kStepExpansion,
                                          BeaconAttention::kSegmentation, BeaconAttention::kEcho,
                                          BeaconAttention::kChosenEcho});
  o.attend_prev = config.attend_prev;
  using Mix = RatioPolicy::Mix;
  o.ratio.mix = choice(config.ratio_mix, {Mix::kStepRandom, Mix::kInstanceRandom, Mix::kSequence});
  o.ratio.ratios.clear();
  for (size_t i = 0; i < config.ratios.size(); ++i) {
    const int64_t times = config.ratio_weights.empty() ? 1 : config.ratio_weights[i];
    o.ratio.ratios.insert(o.ratio.ratios.end(), static_cast<size_t>(times),
                          static_cast<int>(config.ratios[i]));
  }
  validate(o);
  return o;
}

std::optional<LoraConfig> trained_lora(const TrainConfig& config) {
  if (config.lora_rank == 0) return std::nullopt;
  LoraConfig lora;
  lora.rank = config.lora_rank;
  lora.alpha = config.lora_alpha;
  for (const std::string& target : config.lora_targets) lora.add(target.front());
  return lora;
}

Learner::Learner(const TrainConfig& config, Communicator& communicator)
    : config_(config),
      communicator_(communicator),
      device_(ops::open_device(config.device)),
      window_(training_window(config)) {
  if (!device_.is_cpu() && config.deterministic) ops::ask_for_the_same_bits();
  model_ = load_model(model_options(config), /*need_tokenizer=*/true);
  const ModelConfig& shape = model_->net.config();
  token_worth_ = model_->net.weights().token_worth;
  BeaconParameters parameters = initial_parameters();
  parameters.move_to(device_);
  const recorded::RecordingContext context{
      config.recording == "plain" ? recorded::Recording::kPlain : recorded::Recording::kFused, compute_type(),
      device_};
  const RecordedBase base = frozen_base(model_->net.weights(), compute_type(), device_);
  network_ = std::make_unique<RecordedNetwork>(shape, base, parameters, model_->net.rope(), context);
  teacher_ =
      std::make_unique<RecordedNetwork>(shape, base, parameters.without_lora(), model_->net.rope(), context);
  AdamWOptions adam;
  adam.beta1 = config.beta1;
  adam.beta2 = config.beta2;
  adam.epsilon = config.epsilon;
  adam.weight_decay = config.weight_decay;
  adam.gate_multiplier = config.gate_rate;
  adam.embedding_multiplier = config.embedding_rate;
  adam.lora_multiplier = config.lora_rate;
  optimizer_ = std::make_unique<AdamW>(parameters.named(), adam);
  gradient_sums_ = std::make_unique<GradientSums>(optimizer_->parameters(), communicator_, open_nccl());
  schedule_ = {schedule_from_string(config.schedule), config.learning_rate, config.warmup, config.steps,
               config.floor};
}

Learner::~Learner() = default;

std::unique_ptr<NcclSums> Learner::open_nccl() const {
  if (!config_.nccl) return nullptr;
  require(device_.is_cuda(), ErrorCode::kInvalidArgument,
          "nccl: expected device cuda or cuda:N with it, found {}", config_.device);
  if (communicator_.size() == 1) return nullptr;
  const c10::DeviceGuard guard(device_);
  return std::make_unique<NcclSums>(communicator_);
}

// A GPU multiplies bf16 whatever the processor does.
at::ScalarType Learner::compute_type() const {
  if (config_.compute == "auto" && !device_.is_cpu()) return at::kBFloat16;
  return model_->compute;
}

BeaconParameters Learner::initial_parameters() const {
  const ModelWeights& weights = model_->net.weights();
  const std::optional<float> gate =
      config_.gate ? std::optional(static_cast<float>(*config_.gate)) : std::nullopt;
  BeaconParameters parameters =
      BeaconParameters::from(model_->net.config(), weights, trained_projections(config_), gate);
  if (config_.reset_gate && gate) {
    for (BeaconLayerParameters& layer : parameters.layers) layer.gate.detach().fill_(*gate);
  }
  const bool echo = is_echo(window_.attention);
  if (!weights.trained_beacons && echo) parameters.embed.detach().zero_();  // it has its token's embedding
  if (!weights.trained_beacons && !echo && config_.embed_init == "bos") start_from_bos(parameters.embed);
  check_same_rule();
  const std::optional<LoraConfig> lora = trained_lora(config_);
  check_goes_on(model_->beacons.lora, lora);
  if (lora) parameters.add_lora(weights, *lora, static_cast<uint64_t>(config_.seed));
  return parameters;
}

// What an echo has learnt is added to its token's embedding, what another beacon has learnt stands alone.
void Learner::check_same_rule() const {
  if (!model_->beacons_configured) return;
  const BeaconAttentionRule had = model_->beacons.attention;
  require(is_echo(had) == is_echo(window_.attention), ErrorCode::kInvalidArgument,
          "attention: expected {} as in the adapter to start from, found {}", to_string(had),
          config_.attention);
}

void Learner::start_from_bos(const at::Tensor& embed) const {
  const auto bos = model_->net.config().bos_token_id;
  require(bos.has_value(), ErrorCode::kInvalidArgument,
          "embed_init: expected eos, the model has no bos token");
  const auto id = static_cast<int32_t>(*bos);
  const at::NoGradGuard no_gradients;
  ops::embed({&id, 1}, model_->net.weights().embed, {}, embed.detach().unsqueeze(0));
}

at::Tensor Learner::teacher_of(const MicroBatch& batch) {
  if (config_.distillation_weight == 0.0) return {};
  const at::Tensor hidden = teacher_hidden(*teacher_, batch.ids, batch.batch, model_->info.max_positions);
  const ForwardFlops forward = full_attention_flops(network_->config(), hidden.size(1), batch.batch);
  flops_ += forward.products + forward.attention + head_flops(network_->config(), batch.num_labels);
  return hidden;
}

LossSums Learner::accumulate(const MicroBatch& batch, uint64_t seed, bool last) {
  WindowOptions options = window_;
  options.seed = seed;
  const SequencePlan plan = plan_sequence(options, batch.num_tokens, worth_of(batch));
  const at::Tensor teacher = teacher_of(batch);
  SequenceLoss loss(*network_, plan, batch.labels, batch.weights, teacher,
                    {config_.next_token_weight, config_.distillation_weight});
  const std::function<void()> before_last = [&] { gradient_sums_->begin(); };
  Tape(*network_, plan, batch.ids, {config_.recompute, config_.truncate_windows})
      .run(loss, last ? before_last : std::function<void()>());
  flops_ += training_flops(forward_flops(network_->config(), plan, batch.batch)) +
            2 * head_flops(network_->config(), batch.num_labels);
  return loss.sums();
}

UpdateReport Learner::update(double weight) {
  gradient_sums_->finish();
  communicator_.sum(std::span(&weight, 1));
  UpdateReport report;
  report.grad_norm = optimizer_->scale_gradients(weight > 0 ? 1.0 / weight : 1.0);
  require(std::isfinite(report.grad_norm), ErrorCode::kInternal,
          "the gradient of update {} is not finite; a lower learning_rate or clip may help",
          optimizer_->updates());
  if (config_.clip > 0 && report.grad_norm > config_.clip) {
    optimizer_->scale_gradients(config_.clip / report.grad_norm);
  }
  report.learning_rate = schedule_.at(optimizer_->updates());
  optimizer_->step(report.learning_rate);
  optimizer_->clear_gradients();
  return report;
}

LossSums Learner::evaluate(const MicroBatch& batch, int ratio) const {
  WindowOptions options = window_;
  options.ratio.ratios = {ratio};
  const SequencePlan plan = plan_sequence(options, batch.num_tokens, worth_of(batch));
  SequenceLoss loss(*network_, plan, batch.labels, batch.weights, {}, {});
  Tape(*network_, plan, batch.ids, {}).evaluate(loss);
  return loss.sums();
}

void Learner::set_token_worth(const std::vector<float>& worth) {
  token_worth_ = at::tensor(worth, at::kFloat);
}

// Of each token, where echoes are chosen.
std::vector<float> Learner::worth_of(const MicroBatch& batch) const {
  std::vector<float> worth;
  if (window_.attention != BeaconAttention::kChosenEcho) return worth;
  BEACON_CHECK(token_worth_.defined());
  for (const int32_t id : batch.ids) worth.push_back(token_worth_.const_data_ptr<float>()[id]);
  return worth;
}

double Learner::take_flops() { return std::exchange(flops_, 0.0); }

}  // namespace beacon
