#include "io/model_config.h"

#include <algorithm>
#include <cmath>

#include "io/json_reader.h"
#include "io/model_config_checks.h"

namespace beacon {
namespace {

constexpr std::string_view kSupportedFamilies = "llama, mistral, qwen2";

Family parse_family(const JsonReader& root) {
  const auto type = root.string("model_type");
  if (!type) root.wrong("model_type", fmt::format("one of {}", kSupportedFamilies));
  if (*type == "llama") return Family::kLlama;
  if (*type == "mistral") return Family::kMistral;
  if (*type == "qwen2") return Family::kQwen2;
  fail(ErrorCode::kUnsupported, "{}: model_type \"{}\" is not supported; supported: {}", root.what(),
       type->substr(0, 40), kSupportedFamilies);
}

void check_activation(const JsonReader& root) {
  const auto activation = root.string("hidden_act");
  require(!activation || *activation == "silu", ErrorCode::kUnsupported,
          "{}: hidden_act \"{}\" is not supported; supported: silu", root.what(),
          activation.value_or("").substr(0, 40));
}

void parse_sizes(const JsonReader& root, ModelConfig& config) {
  config.hidden_size = root.required_integer("hidden_size", 1, kMaxHidden);
  config.intermediate_size = root.required_integer("intermediate_size", 1, kMaxIntermediate);
  config.num_hidden_layers = root.required_integer("num_hidden_layers", 1, kMaxLayers);
  config.num_attention_heads = root.required_integer("num_attention_heads", 1, kMaxHeads);
  config.vocab_size = root.required_integer("vocab_size", 1, kMaxVocab);
  config.max_position_embeddings = root.required_integer("max_position_embeddings", 1, kMaxPositions);
  // The first Llama had no grouped heads and says nothing; the other families' defaults fit no other size of
  // model.
  config.num_key_value_heads =
      config.family == Family::kLlama
          ? root.integer("num_key_value_heads", 1, kMaxHeads).value_or(config.num_attention_heads)
          : root.required_integer("num_key_value_heads", 1, kMaxHeads);
  const auto head_dim = root.integer("head_dim", 1, kMaxHeadDim);
  require(head_dim || config.hidden_size % config.num_attention_heads == 0, ErrorCode::kBadFile,
          "{}: without head_dim, hidden_size {} should be a multiple of num_attention_heads {}", root.what(),
          config.hidden_size, config.num_attention_heads);
  config.head_dim = head_dim.value_or(config.hidden_size / config.num_attention_heads);
}

void parse_biases(const JsonReader& root, ModelConfig& config) {
  if (config.family == Family::kQwen2) {
    config.qkv_bias = true;
    return;
  }
  const bool bias = root.boolean("attention_bias").value_or(false);
  config.qkv_bias = bias;
  config.o_bias = bias;
  config.mlp_bias = root.boolean("mlp_bias").value_or(false);
}

void parse_sliding_window(const JsonReader& root, ModelConfig& config) {
  const auto window = root.integer("sliding_window", 1, kMaxPositions);
  switch (config.family) {
    case Family::kLlama:
      break;
    case Family::kMistral:
      // transformers assumes 4096 when the key is missing, and no window when it is null.
      config.sliding_window = root.mentions("sliding_window") ? window : std::optional<int64_t>(4096);
      break;
    case Family::kQwen2:
      if (root.boolean("use_sliding_window").value_or(false)) config.sliding_window = window;
      break;
  }
}

void parse_special_tokens(const JsonReader& root, ModelConfig& config) {
  const int64_t last = config.vocab_size - 1;
  config.bos_token_id = root.integer("bos_token_id", 0, last);
  config.eos_token_ids = root.integers("eos_token_id", 0, last).value_or(std::vector<int64_t>{});
  // Old Llama checkpoints say -1 for none, or name a row that was never added; padding is not used here.
  const auto pad = root.integer("pad_token_id", -1, kMaxVocab);
  if (pad && *pad >= 0 && *pad <= last) config.pad_token_id = pad;
}

// Keys that would change the computation if they had another value.
void refuse_unknown_variants(const JsonReader& root) {
  for (const char* key : {"num_local_experts", "num_experts"}) {
    const auto experts = root.integer(key, 0, kMaxHeads);
    require(experts.value_or(0) == 0, ErrorCode::kUnsupported,
            "{}: \"{}\" is {}; mixtures of experts are not supported", root.what(), key, experts.value_or(0));
  }
  if (const Json* quantization = root.value("quantization_config")) {
    fail(ErrorCode::kUnsupported,
         "{}: \"quantization_config\" is {}; use the unquantised checkpoint or a GGUF file", root.what(),
         json_snippet(*quantization));
  }
}

}  // namespace

std::string_view to_string(Family family) {
  switch (family) {
    case Family::kLlama:
      return "llama";
    case Family::kMistral:
      return "mistral";
    case Family::kQwen2:
      return "qwen2";
  }
  return "?";
}

int64_t ModelConfig::max_positions() const {
  switch (rope.kind) {
    case RopeKind::kDefault:
    case RopeKind::kLlama3:
      return max_position_embeddings;
    case RopeKind::kLinear:
    case RopeKind::kDynamic:
      return static_cast<int64_t>(static_cast<double>(max_position_embeddings) * rope.factor);
    case RopeKind::kYarn:
      return std::max(
          max_position_embeddings,
          static_cast<int64_t>(static_cast<double>(rope.original_max_position_embeddings) * rope.factor));
  }
  return max_position_embeddings;
}

void check_model_config(const ModelConfig& config, const std::string& what) {
  require(config.num_attention_heads % config.num_key_value_heads == 0, ErrorCode::kBadFile,
          "{}: num_attention_heads {} should be a multiple of num_key_value_heads {}", what,
          config.num_attention_heads, config.num_key_value_heads);
  require(config.head_dim % 2 == 0, ErrorCode::kBadFile, "{}: head_dim should be even, found {}", what,
          config.head_dim);
  check_rope_config(config.rope, what);
}

ModelConfig parse_model_config(std::string_view json, const std::string& what) {
  const Json object = parse_json_object(json, what);
  const JsonReader root(object, what);
  ModelConfig config;
  config.family = parse_family(root);
  check_activation(root);
  refuse_unknown_variants(root);
  parse_sizes(root, config);
  config.rms_norm_eps = root.number("rms_norm_eps", 1e-20, 1).value_or(1e-6);
  config.rope = parse_rope(root, 10000.0, config.max_position_embeddings);
  if (const auto partial = root.number("partial_rotary_factor", 0, 1)) {
    require(*partial == 1.0, ErrorCode::kUnsupported, "{}: partial_rotary_factor {} is not supported, only 1",
            what, *partial);
  }
  parse_biases(root, config);
  config.tie_word_embeddings = root.boolean("tie_word_embeddings").value_or(false);
  parse_sliding_window(root, config);
  parse_special_tokens(root, config);
  check_model_config(config, what);
  return config;
}

void apply_generation_config(std::string_view json, ModelConfig& config, const std::string& what) {
  const Json object = parse_json_object(json, what);
  const auto ids = JsonReader(object, what).integers("eos_token_id", 0, config.vocab_size - 1);
  if (ids && !ids->empty()) config.eos_token_ids = *ids;
}

}  // namespace beacon
