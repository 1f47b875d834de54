#pragma once
// What config.json or GGUF metadata say about a model, under the names Hugging Face uses.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

class GgufFile;

enum class Family { kLlama, kMistral, kQwen2 };
std::string_view to_string(Family family);

enum class RopeKind { kDefault, kLinear, kDynamic, kYarn, kLlama3 };
std::string_view to_string(RopeKind kind);
// Throws kUnsupported with the list of kinds.
RopeKind rope_kind_from_string(std::string_view name);

// Rotary position embedding. Fields that a kind does not use keep their default.
struct RopeConfig {
  RopeKind kind = RopeKind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;                           // all kinds but default; >= 1
  int64_t original_max_position_embeddings = 0;  // dynamic, yarn, llama3; the parsers fill it in
  // yarn
  double beta_fast = 32.0;
  double beta_slow = 1.0;
  std::optional<double> attention_factor;  // scale of cos and sin; absent: from factor or the mscales
  std::optional<double> mscale;
  std::optional<double> mscale_all_dim;
  bool truncate = true;  // round the ramp's ends to whole dimensions
  bool original_beacon_yarn =
      false;  // the formula of the original Activation Beacon code instead of transformers'
  // llama3
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;

  bool operator==(const RopeConfig&) const = default;
};

// All numbers have been checked: positive, in sane bounds, consistent with each other.
struct ModelConfig {
  Family family = Family::kLlama;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;  // not always hidden_size / num_attention_heads
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  RopeConfig rope;
  bool qkv_bias = false;  // biases on q, k and v
  bool o_bias = false;    // bias on o
  bool mlp_bias = false;  // biases on gate, up and down (llama's mlp_bias)
  bool tie_word_embeddings = false;
  std::optional<int64_t> sliding_window;  // tokens; only when the checkpoint's attention really slides
  std::optional<int64_t> bos_token_id;
  std::vector<int64_t> eos_token_ids;  // may be empty
  std::optional<int64_t> pad_token_id;

  // Positions the model may use, rope scaling included: max_position_embeddings, times the factor for linear
  // and dynamic, original_max_position_embeddings times the factor for yarn when that is more.
  int64_t max_positions() const;
};

// From the text of config.json. `what` names the file in messages. Throws kBadFile naming key, expected and
// found, or kUnsupported (architecture, activation, rope kind) with the list of what is supported.
ModelConfig parse_model_config(std::string_view json, const std::string& what = "config.json");

// From GGUF metadata: architectures llama (Mistral comes as llama) and qwen2. Biases and tying follow the
// tensors. A rope_freqs.weight tensor (llama3 scaling, precomputed) is not seen here:
// Checkpoint::rope_factors().
ModelConfig parse_model_config(const GgufFile& gguf);

// generation_config.json overrides the eos ids, when it has some.
void apply_generation_config(std::string_view json, ModelConfig& config,
                             const std::string& what = "generation_config.json");

}  // namespace beacon
