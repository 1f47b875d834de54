// ModelConfig from the metadata of a GGUF file.
#include <cmath>

#include "base/check.h"
#include "io/gguf.h"
#include "io/model_config.h"
#include "io/model_config_checks.h"

namespace beacon {
namespace {

// Reads "<architecture>.<key>" with bounds.
class ArchKeys {
 public:
  ArchKeys(const GgufFile& file, std::string arch) : file_(file), arch_(std::move(arch)) {}

  std::string full(std::string_view key) const { return fmt::format("{}.{}", arch_, key); }

  std::optional<int64_t> integer(std::string_view key, int64_t low, int64_t high) const {
    const auto n = file_.get_int(full(key));
    require(!n || (*n >= low && *n <= high), ErrorCode::kBadFile,
            "{}: \"{}\" should be an integer from {} to {}, found {}", file_.what(), full(key), low, high,
            n.value_or(0));
    return n;
  }

  int64_t required_integer(std::string_view key, int64_t low, int64_t high) const {
    const auto n = integer(key, low, high);
    require(n.has_value(), ErrorCode::kBadFile, "{}: \"{}\" is missing, expected an integer from {} to {}",
            file_.what(), full(key), low, high);
    return *n;
  }

  std::optional<double> number(std::string_view key, double low, double high) const {
    const auto x = file_.get_float(full(key));
    require(!x || (*x >= low && *x <= high), ErrorCode::kBadFile,
            "{}: \"{}\" should be a number from {} to {}, found {}", file_.what(), full(key), low, high,
            x.value_or(0));
    return x;
  }

  std::optional<std::string_view> string(std::string_view key) const { return file_.get_string(full(key)); }

 private:
  const GgufFile& file_;
  std::string arch_;
};

Family parse_architecture(const GgufFile& gguf) {
  const auto arch = gguf.get_string("general.architecture");
  require(arch.has_value(), ErrorCode::kBadFile, "{}: \"general.architecture\" is missing", gguf.what());
  if (*arch == "llama") return Family::kLlama;
  if (*arch == "qwen2") return Family::kQwen2;
  fail(ErrorCode::kUnsupported,
       "{}: architecture \"{}\" is not supported; supported in GGUF: llama (and mistral), qwen2", gguf.what(),
       arch->substr(0, 40));
}

void parse_sizes(const ArchKeys& keys, const GgufFile& gguf, ModelConfig& config) {
  config.hidden_size = keys.required_integer("embedding_length", 1, kMaxHidden);
  config.intermediate_size = keys.required_integer("feed_forward_length", 1, kMaxIntermediate);
  config.num_hidden_layers = keys.required_integer("block_count", 1, kMaxLayers);
  config.num_attention_heads = keys.required_integer("attention.head_count", 1, kMaxHeads);
  config.num_key_value_heads =
      keys.integer("attention.head_count_kv", 1, kMaxHeads).value_or(config.num_attention_heads);
  config.max_position_embeddings = keys.required_integer("context_length", 1, kMaxPositions);

  const auto key_length = keys.integer("attention.key_length", 1, kMaxHeadDim);
  require(key_length || config.hidden_size % config.num_attention_heads == 0, ErrorCode::kBadFile,
          "{}: without \"{}\", embedding_length {} should be a multiple of head_count {}", gguf.what(),
          keys.full("attention.key_length"), config.hidden_size, config.num_attention_heads);
  config.head_dim = key_length.value_or(config.hidden_size / config.num_attention_heads);
  for (const char* key : {"attention.value_length", "rope.dimension_count"}) {
    const auto n = keys.integer(key, 1, kMaxHeadDim).value_or(config.head_dim);
    require(n == config.head_dim, ErrorCode::kUnsupported,
            "{}: \"{}\" is {}, only the head size {} is supported", gguf.what(), keys.full(key), n,
            config.head_dim);
  }
  const auto experts = keys.integer("expert_count", 0, kMaxHeads).value_or(0);
  require(experts == 0, ErrorCode::kUnsupported, "{}: \"{}\" is {}; mixtures of experts are not supported",
          gguf.what(), keys.full("expert_count"), experts);
}

// Files may leave the vocabulary's size to the list of tokens.
int64_t parse_vocab_size(const ArchKeys& keys, const GgufFile& gguf) {
  if (const auto n = keys.integer("vocab_size", 1, kMaxVocab)) return *n;
  const GgufValue* tokens = gguf.value("tokenizer.ggml.tokens");
  const uint64_t count = tokens != nullptr && tokens->type == GgufType::kArray ? tokens->count : 0;
  require(count > 0 && count <= static_cast<uint64_t>(kMaxVocab), ErrorCode::kBadFile,
          "{}: expected \"{}\" or a list of 1 to {} tokens, found {}", gguf.what(), keys.full("vocab_size"),
          kMaxVocab, count);
  return static_cast<int64_t>(count);
}

RopeConfig parse_rope(const ArchKeys& keys, const GgufFile& gguf, int64_t context_length) {
  RopeConfig rope;
  rope.theta = keys.number("rope.freq_base", 1e-6, kMaxRopeTheta).value_or(10000.0);
  const auto kind = keys.string("rope.scaling.type");
  // Old files write the linear factor alone.
  const auto old_factor = keys.number("rope.scale_linear", 1, kMaxRopeFactor);
  const auto factor = keys.number("rope.scaling.factor", 0, kMaxRopeFactor);
  if (kind) {
    try {
      rope.kind = rope_kind_from_string(*kind);
    } catch (const Error& error) {
      fail(error.code(), "{}: \"{}\": {}", gguf.what(), keys.full("rope.scaling.type"), error.what());
    }
  } else if (old_factor.value_or(1.0) != 1.0) {
    rope.kind = RopeKind::kLinear;
  }
  require(rope.kind == RopeKind::kDefault || rope.kind == RopeKind::kLinear || rope.kind == RopeKind::kYarn,
          ErrorCode::kUnsupported, "{}: \"{}\" is {}, supported in GGUF: none, linear, yarn", gguf.what(),
          keys.full("rope.scaling.type"), to_string(rope.kind));
  if (rope.kind == RopeKind::kDefault) return rope;

  rope.factor = factor.value_or(old_factor.value_or(0.0));
  require(rope.factor >= 1, ErrorCode::kBadFile, "{}: \"{}\" should be at least 1 for {} scaling, found {}",
          gguf.what(), keys.full("rope.scaling.factor"), to_string(rope.kind), rope.factor);
  if (rope.kind == RopeKind::kLinear) return rope;
  rope.original_max_position_embeddings =
      keys.integer("rope.scaling.original_context_length", 1, kMaxPositions).value_or(context_length);
  rope.beta_fast = keys.number("rope.scaling.yarn_beta_fast", 1e-6, 1e6).value_or(rope.beta_fast);
  rope.beta_slow = keys.number("rope.scaling.yarn_beta_slow", 1e-6, 1e6).value_or(rope.beta_slow);
  // llama.cpp multiplies its own factor onto the usual 0.1 ln(factor) + 1.
  auto attention = keys.number("rope.scaling.yarn_attn_factor", 1e-6, 1e6);
  if (!attention) attention = keys.number("rope.scaling.attn_factor", 1e-6, 1e6);
  if (attention.value_or(1.0) != 1.0)
    rope.attention_factor = *attention * (0.1 * std::log(rope.factor) + 1.0);
  return rope;
}

std::optional<int64_t> token_id(const GgufFile& gguf, const char* key, int64_t vocab_size) {
  const auto id = gguf.get_int(key);
  require(!id || (*id >= 0 && *id < vocab_size), ErrorCode::kBadFile,
          "{}: \"{}\" should be from 0 to {}, found {}", gguf.what(), key, vocab_size - 1, id.value_or(0));
  return id;
}

void parse_special_tokens(const GgufFile& gguf, ModelConfig& config) {
  config.bos_token_id = token_id(gguf, "tokenizer.ggml.bos_token_id", config.vocab_size);
  config.pad_token_id = token_id(gguf, "tokenizer.ggml.padding_token_id", config.vocab_size);
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    const auto id = token_id(gguf, key, config.vocab_size);
    if (!id) continue;
    if (config.eos_token_ids.empty() || config.eos_token_ids[0] != *id) config.eos_token_ids.push_back(*id);
  }
}

}  // namespace

ModelConfig parse_model_config(const GgufFile& gguf) {
  ModelConfig config;
  config.family = parse_architecture(gguf);
  const ArchKeys keys(gguf, std::string(to_string(config.family)));
  parse_sizes(keys, gguf, config);
  config.vocab_size = parse_vocab_size(keys, gguf);
  const auto eps = keys.number("attention.layer_norm_rms_epsilon", 1e-20, 1);
  require(eps.has_value(), ErrorCode::kBadFile, "{}: \"{}\" is missing", gguf.what(),
          keys.full("attention.layer_norm_rms_epsilon"));
  config.rms_norm_eps = *eps;
  config.rope = parse_rope(keys, gguf, config.max_position_embeddings);
  config.qkv_bias = gguf.find("blk.0.attn_q.bias") != nullptr;
  config.o_bias = gguf.find("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = gguf.find("blk.0.ffn_gate.bias") != nullptr;
  config.tie_word_embeddings = gguf.find("output.weight") == nullptr;
  config.sliding_window = keys.integer("attention.sliding_window", 0, kMaxPositions);
  if (config.sliding_window == 0) config.sliding_window.reset();
  parse_special_tokens(gguf, config);
  check_model_config(config, gguf.what());
  return config;
}

}  // namespace beacon
