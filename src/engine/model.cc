#include <beacon/chat.h>
#include <beacon/model.h>

#include <cmath>

#include "base/check.h"
#include "base/log.h"
#include "engine/model_impl.h"
#include "kernels/isa.h"
#include "ops/device.h"
#include "ops/thread_count.h"

namespace beacon {
namespace {

constexpr float kUntrainedGate = -4.0F;

ComputeType resolve_compute(ComputeType type, at::Device device) {
  require(type != ComputeType::kQ15 || device.is_cpu(), ErrorCode::kUnsupported,
          "products of 15-bit integers (q15) need the processor; bf16 or f32 was expected on another device");
  if (type != ComputeType::kAuto) return type;
  if (!device.is_cpu()) return ComputeType::kBF16;
  // Without fast products in hardware bf16 is up to several times slower than f32.
  return kernels::has_fast_bf16() ? ComputeType::kBF16 : ComputeType::kQ15;
}

double override_factor(const RopeOverride& wanted) {
  require(wanted.factor.has_value(), ErrorCode::kInvalidArgument,
          "rope scaling '{}' needs a factor: how many times the trained positions are to be reached",
          *wanted.scaling);
  require(*wanted.factor >= 1.0 && *wanted.factor <= 1e6, ErrorCode::kInvalidArgument,
          "rope factor {} is out of range; a number from 1 to 1000000 was expected", *wanted.factor);
  return *wanted.factor;
}

// The user's wish laid over the checkpoint's own rotation; `max_positions` grows with the factor.
RopeConfig resolve_rope(const ModelConfig& config, const RopeConfig& base, const RopeOverride& wanted,
                        bool beacon_rules, int64_t& max_positions) {
  RopeConfig rope = base;
  if (wanted.theta) {
    require(*wanted.theta > 1.0 && *wanted.theta <= 1e15, ErrorCode::kInvalidArgument,
            "rope theta {} is out of range; a number above 1 and at most 1e15 was expected", *wanted.theta);
    rope.theta = *wanted.theta;
  }
  if (!wanted.scaling) {
    require(!wanted.factor, ErrorCode::kInvalidArgument,
            "a rope factor needs a rope scaling: linear, dynamic, ntk, yarn or llama3");
    return rope;
  }
  const double theta = rope.theta;
  rope = RopeConfig{};
  rope.theta = theta;
  rope.original_max_position_embeddings = config.max_position_embeddings;
  max_positions = config.max_position_embeddings;
  if (*wanted.scaling == "none") return rope;
  rope.factor = override_factor(wanted);
  max_positions =
      static_cast<int64_t>(std::floor(static_cast<double>(config.max_position_embeddings) * rope.factor));
  if (*wanted.scaling == "ntk") {
    // NTK-aware: the base grows so that the slowest dimension is stretched by the factor and the fastest
    // kept.
    const auto dim = static_cast<double>(config.head_dim);
    rope.theta *= std::pow(rope.factor, dim / (dim - 2.0));
    rope.factor = 1.0;
    return rope;
  }
  rope.kind = rope_kind_from_string(*wanted.scaling);
  rope.original_beacon_yarn = beacon_rules;
  return rope;
}

std::string describe(const RopeConfig& rope) {
  std::string text = fmt::format("{}, theta {}", to_string(rope.kind), rope.theta);
  if (rope.kind != RopeKind::kDefault) text += fmt::format(", factor {}", rope.factor);
  if (rope.kind == RopeKind::kYarn && rope.original_beacon_yarn) text += ", the original beacon's formula";
  return text;
}

// A base of other weights but the same shapes may be a fine-tune the adapter still fits: worth a word, not a
// refusal.
void check_identity(const Adapter& adapter, const std::string& base, const std::string& tokenizer) {
  const AdapterIdentity& made_for = adapter.identity();
  if (made_for.base_fingerprint && *made_for.base_fingerprint != base) {
    log_warning(fmt::format("the adapter {} was trained on other base weights (base {}, adapter made for {})",
                            adapter.path().string(), base, *made_for.base_fingerprint));
  }
  require(
      !made_for.tokenizer_fingerprint || tokenizer.empty() || *made_for.tokenizer_fingerprint == tokenizer,
      ErrorCode::kMismatch, "the adapter {} was made for another tokenizer ({}) than the model's ({})",
      adapter.path().string(), made_for.tokenizer_fingerprint.value_or(""), tokenizer);
}

std::shared_ptr<const Tokenizer> load_tokenizer(const Checkpoint& checkpoint, bool needed) {
  if (needed) return Tokenizer::load(checkpoint.path());
  try {
    return Tokenizer::load(checkpoint.path());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) return nullptr;
    throw;
  }
}

}  // namespace

std::unique_ptr<Model::Impl> load_model(const ModelOptions& options, bool need_tokenizer) {
  kernels::choose_isa();
  const at::Device device = ops::open_device(options.device);
  require(options.threads >= 0 && options.threads <= 1024, ErrorCode::kInvalidArgument,
          "{} threads were asked for; 0 (all cores) to 1024 were expected", options.threads);
  if (options.threads > 0) ops::set_num_threads(options.threads);

  const auto checkpoint = Checkpoint::open(options.model);
  const std::shared_ptr<const Adapter> adapter = options.adapter ? Adapter::open(*options.adapter) : nullptr;
  const ModelConfig& config = checkpoint->config();
  BeaconConfig beacons;
  if (adapter) {
    beacons = adapter->config();
  } else if (checkpoint->beacon()) {
    beacons = *checkpoint->beacon();
  } else {
    beacons.params = {.q = true, .k = true, .v = true};
  }
  const bool configured = adapter != nullptr || checkpoint->beacon().has_value();

  int64_t max_positions = config.max_positions();
  const RopeConfig& own_rope = beacons.rope ? *beacons.rope : config.rope;
  RopeConfig rope_config = resolve_rope(config, own_rope, options.rope, configured, max_positions);
  const bool rope_changed = options.rope.scaling.has_value() || options.rope.theta.has_value();
  ops::Rope rope(rope_config, config.head_dim, config.max_position_embeddings,
                 rope_changed || beacons.rope ? std::nullopt : checkpoint->rope_factors());

  // Beacons that nobody trained do harm (design 3), but for echoes: a model without any configuration of them
  // gets them nearly silent.
  const std::optional<float> gate = options.beacon_gate || configured ? options.beacon_gate : kUntrainedGate;
  ModelWeights weights = load_weights(checkpoint, adapter, beacons, gate);
  weights.quiet_gate = gate && !options.beacon_gate;
  const ComputeType compute = resolve_compute(options.compute, device);
  const at::ScalarType compute_type = compute == ComputeType::kBF16 ? at::kBFloat16 : at::kFloat;
  if (!device.is_cpu()) move_to(weights, device, compute_type);
  auto impl = std::make_unique<Model::Impl>(Transformer(config, std::move(weights), std::move(rope)),
                                            load_tokenizer(*checkpoint, need_tokenizer));
  impl->chat_template = checkpoint->chat_template();
  if (!impl->chat_template && impl->tokenizer) impl->chat_template = impl->tokenizer->chat_template();
  impl->beacons = beacons;
  impl->beacons_configured = configured;
  impl->device = device;
  impl->compute = compute_type;
  impl->integers = compute == ComputeType::kQ15;
  for (const LayerWeights& layer : impl->net.weights().layers) impl->gated |= layer.beacon.gate.defined();

  ModelInfo& info = impl->info;
  info.family = to_string(config.family);
  info.base_fingerprint = checkpoint->fingerprint();
  info.trained_beacons = impl->net.weights().trained_beacons;
  info.adapter_fingerprint = !info.trained_beacons ? "untrained"
                             : adapter             ? adapter->fingerprint()
                                                   : checkpoint->beacon_fingerprint();
  if (gate) info.adapter_fingerprint += fmt::format("+gate{}", *gate);
  info.tokenizer_fingerprint = impl->tokenizer ? impl->tokenizer->fingerprint() : "";
  info.compute = compute == ComputeType::kBF16 ? "bf16" : compute == ComputeType::kQ15 ? "q15" : "f32";
  info.isa = device.is_cpu() ? kernels::active_isa_name() : device.str();
  info.device = device.str();
  info.rope = describe(rope_config);
  info.num_hidden_layers = config.num_hidden_layers;
  info.hidden_size = config.hidden_size;
  info.num_attention_heads = config.num_attention_heads;
  info.num_key_value_heads = config.num_key_value_heads;
  info.head_dim = config.head_dim;
  info.vocab_size = config.vocab_size;
  info.max_positions = max_positions;
  info.num_parameters = impl->net.weights().num_parameters;
  info.weight_bytes = impl->net.weights().bytes;
  info.threads = ops::num_threads();
  if (adapter) check_identity(*adapter, info.base_fingerprint, info.tokenizer_fingerprint);
  return impl;
}

std::shared_ptr<const Model> Model::load(const ModelOptions& options) {
  return std::shared_ptr<const Model>(new Model(load_model(options, /*need_tokenizer=*/true)));
}

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;

const ModelInfo& Model::info() const { return impl_->info; }

const Tokenizer& Model::tokenizer() const {
  require(impl_->tokenizer != nullptr, ErrorCode::kNotFound, "the model has no tokenizer");
  return *impl_->tokenizer;
}

std::string Model::chat_template() const {
  require(impl_->chat_template.has_value(), ErrorCode::kUnsupported,
          "the model carries no chat template; name one of those we know, or none");
  return recognise_chat_template(*impl_->chat_template);
}

}  // namespace beacon
