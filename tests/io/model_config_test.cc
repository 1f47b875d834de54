#include "io/model_config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/gguf.h"
#include "io_test.h"

namespace beacon {
namespace {

using nlohmann::json;
using testing::ElementsAre;
constexpr auto kBad = ErrorCode::kBadFile;
constexpr auto kUnsupported = ErrorCode::kUnsupported;

json llama() {
  return json::parse(R"({"model_type":"llama","hidden_act":"silu","hidden_size":64,"intermediate_size":176,
    "num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":256,
    "max_position_embeddings":2048,"rms_norm_eps":1e-5,"bos_token_id":1,"eos_token_id":2})");
}

ModelConfig parse(const json& j) { return parse_model_config(j.dump()); }

json with(const char* patch) {
  json j = llama();
  j.merge_patch(json::parse(patch));  // null removes
  return j;
}

TEST(ModelConfig, FillsWhatLlamaLeavesOut) {
  const ModelConfig c = parse(with(R"({"num_key_value_heads":null})"));
  EXPECT_EQ(c.family, Family::kLlama);
  EXPECT_EQ(c.num_key_value_heads, 4);
  EXPECT_EQ(c.head_dim, 16);
  EXPECT_EQ(c.rope.kind, RopeKind::kDefault);
  EXPECT_EQ(c.rope.theta, 10000.0);
  EXPECT_EQ(c.rms_norm_eps, 1e-5);
  EXPECT_FALSE(c.qkv_bias || c.o_bias || c.mlp_bias || c.tie_word_embeddings || c.sliding_window);
  EXPECT_EQ(c.bos_token_id, 1);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(2));
  EXPECT_FALSE(c.pad_token_id);
}

TEST(ModelConfig, HeadDimStandsApart) { EXPECT_EQ(parse(with(R"({"head_dim":32})")).head_dim, 32); }

TEST(ModelConfig, BiasesByFamily) {
  const ModelConfig l = parse(with(R"({"attention_bias":true})"));
  EXPECT_TRUE(l.qkv_bias && l.o_bias);
  const ModelConfig q = parse(with(R"({"model_type":"qwen2"})"));
  EXPECT_TRUE(q.qkv_bias);
  EXPECT_FALSE(q.o_bias);
}

TEST(ModelConfig, SlidingWindows) {
  json mistral = with(R"({"model_type":"mistral","sliding_window":64})");
  EXPECT_EQ(parse(mistral).sliding_window, 64);
  mistral["sliding_window"] = nullptr;
  EXPECT_FALSE(parse(mistral).sliding_window);
  mistral.erase("sliding_window");
  EXPECT_EQ(parse(mistral).sliding_window, 4096);
  EXPECT_FALSE(parse(with(R"({"model_type":"qwen2","sliding_window":64})")).sliding_window);
  EXPECT_EQ(
      parse(with(R"({"model_type":"qwen2","sliding_window":64,"use_sliding_window":true})")).sliding_window,
      64);
}

TEST(ModelConfig, RopeInEverySpelling) {
  const char* old_key = R"({"rope_theta":5e5,"rope_scaling":{"type":"llama3","factor":8.0,"low_freq_factor":1,
    "high_freq_factor":4,"original_max_position_embeddings":64}})";
  const char* new_key =
      R"({"rope_theta":5e5,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1,
    "high_freq_factor":4,"original_max_position_embeddings":64}})";
  const char* newest =
      R"({"rope_parameters":{"rope_type":"llama3","rope_theta":5e5,"factor":8.0,"low_freq_factor":1,
    "high_freq_factor":4,"original_max_position_embeddings":64}})";
  RopeConfig expected;
  expected.kind = RopeKind::kLlama3;
  expected.theta = 5e5;
  expected.factor = 8;
  expected.low_freq_factor = 1;
  expected.high_freq_factor = 4;
  expected.original_max_position_embeddings = 64;
  for (const char* spelling : {old_key, new_key, newest})
    EXPECT_EQ(parse(with(spelling)).rope, expected) << spelling;
  EXPECT_EQ(parse(with(R"({"rope_scaling":{"type":"linear","factor":2}})")).max_positions(), 4096);
  const ModelConfig yarn =
      parse(with(R"({"rope_scaling":{"type":"yarn","factor":4,"attention_factor":1.5}})"));
  EXPECT_EQ(yarn.rope.original_max_position_embeddings, 2048);
  EXPECT_EQ(yarn.rope.attention_factor, 1.5);
  EXPECT_EQ(yarn.max_positions(), 8192);
  EXPECT_FALSE(yarn.rope.original_beacon_yarn);
  EXPECT_EQ(parse(with(newest)).max_positions(), 2048);
}

TEST(ModelConfig, EosListsAndGenerationConfig) {
  ModelConfig c = parse(with(R"({"eos_token_id":[5,6],"pad_token_id":-1})"));
  EXPECT_THAT(c.eos_token_ids, ElementsAre(5, 6));
  EXPECT_FALSE(c.pad_token_id);
  apply_generation_config(R"({"temperature":0.6})", c);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(5, 6));
  apply_generation_config(R"({"eos_token_id":7})", c);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(7));
  apply_generation_config(R"({"eos_token_id":[8,9]})", c);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(8, 9));
  expect_error(kBad, {"eos_token_id", "found 256"},
               [&] { apply_generation_config(R"({"eos_token_id":256})", c); });
}

struct BadConfig {
  const char* name;
  const char* patch;
  ErrorCode code;
  std::vector<std::string> says;
};
class ModelConfigBad : public testing::TestWithParam<BadConfig> {};

TEST_P(ModelConfigBad, IsRefused) {
  auto says = GetParam().says;
  says.push_back("config.json");
  expect_error(GetParam().code, says, [] { parse(with(GetParam().patch)); });
}

INSTANTIATE_TEST_SUITE_P(
    Table, ModelConfigBad,
    testing::Values(
        BadConfig{"no_type", R"({"model_type":null})", kBad, {"model_type", "llama, mistral, qwen2"}},
        BadConfig{"gemma", R"({"model_type":"gemma"})", kUnsupported, {"gemma", "llama, mistral, qwen2"}},
        BadConfig{"gelu", R"({"hidden_act":"gelu"})", kUnsupported, {"gelu", "silu"}},
        BadConfig{"zero_hidden", R"({"hidden_size":0})", kBad, {"hidden_size", "found 0"}},
        BadConfig{"negative_layers", R"({"num_hidden_layers":-1})", kBad, {"num_hidden_layers", "found -1"}},
        BadConfig{"absurd_layers", R"({"num_hidden_layers":1000000000})", kBad, {"num_hidden_layers"}},
        BadConfig{"text_heads", R"({"num_attention_heads":"4"})", kBad, {"num_attention_heads", "\"4\""}},
        BadConfig{"half_head", R"({"num_attention_heads":4.5})", kBad, {"num_attention_heads", "4.5"}},
        BadConfig{"huge_vocab", R"({"vocab_size":18446744073709551615})", kBad, {"vocab_size"}},
        BadConfig{"no_vocab", R"({"vocab_size":null})", kBad, {"vocab_size", "found nothing"}},
        BadConfig{"no_positions", R"({"max_position_embeddings":0})", kBad, {"max_position_embeddings"}},
        BadConfig{"kv_heads_do_not_divide",
                  R"({"num_key_value_heads":3})",
                  kBad,
                  {"multiple of num_key_value_heads 3"}},
        BadConfig{"more_kv_heads", R"({"num_key_value_heads":8})", kBad, {"num_key_value_heads 8"}},
        BadConfig{"mistral_kv_heads",
                  R"({"model_type":"mistral","num_key_value_heads":null})",
                  kBad,
                  {"num_key_value_heads"}},
        BadConfig{"heads_do_not_divide",
                  R"({"num_attention_heads":6,"num_key_value_heads":6})",
                  kBad,
                  {"head_dim"}},
        BadConfig{"odd_head", R"({"head_dim":15})", kBad, {"even", "15"}},
        BadConfig{"eps_zero", R"({"rms_norm_eps":0})", kBad, {"rms_norm_eps"}},
        BadConfig{"theta_zero", R"({"rope_theta":0})", kBad, {"rope_theta"}},
        BadConfig{"theta_text", R"({"rope_theta":"1e4"})", kBad, {"rope_theta"}},
        BadConfig{"bos_out_of_range", R"({"bos_token_id":256})", kBad, {"bos_token_id", "0 to 255"}},
        BadConfig{"eos_negative", R"({"eos_token_id":[2,-1]})", kBad, {"eos_token_id"}},
        BadConfig{"experts", R"({"num_local_experts":8})", kUnsupported, {"experts"}},
        BadConfig{
            "quantised", R"({"quantization_config":{"bits":4}})", kUnsupported, {"quantization_config"}},
        BadConfig{
            "partial_rotary", R"({"partial_rotary_factor":0.5})", kUnsupported, {"partial_rotary_factor"}},
        BadConfig{"rope_list", R"({"rope_scaling":[1]})", kBad, {"rope_scaling"}},
        BadConfig{"rope_no_type", R"({"rope_scaling":{"factor":2}})", kBad, {"rope_type"}},
        BadConfig{"rope_unknown",
                  R"({"rope_scaling":{"type":"longrope","factor":2}})",
                  kUnsupported,
                  {"longrope", "default, linear, dynamic, yarn, llama3"}},
        BadConfig{"rope_contradiction",
                  R"({"rope_scaling":{"type":"yarn","rope_type":"linear","factor":2}})",
                  kBad,
                  {"linear", "yarn"}},
        BadConfig{"rope_no_factor", R"({"rope_scaling":{"type":"linear"}})", kBad, {"factor"}},
        BadConfig{"rope_small_factor",
                  R"({"rope_scaling":{"type":"linear","factor":0.5}})",
                  kBad,
                  {"factor", "0.5"}},
        BadConfig{"llama3_frequencies",
                  R"({"rope_scaling":{"type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":4,
                  "original_max_position_embeddings":64}})",
                  kBad,
                  {"low_freq_factor"}},
        BadConfig{"llama3_no_original",
                  R"({"rope_scaling":{"type":"llama3","factor":8,"low_freq_factor":1,"high_freq_factor":4}})",
                  kBad,
                  {"original_max_position_embeddings"}},
        BadConfig{"yarn_betas",
                  R"({"rope_scaling":{"type":"yarn","factor":4,"beta_fast":1,"beta_slow":2}})",
                  kBad,
                  {"beta_slow"}}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ModelConfig, TextThatIsNoConfigurationIsRefused) {
  expect_error(kBad, {"not valid JSON"}, [] { parse_model_config(""); });
  expect_error(kBad, {"expected a JSON object", "array"}, [] { parse_model_config("[]"); });
  expect_error(kBad, {"nested deeper"}, [] { parse_model_config("{\"a\":" + std::string(100'000, '[')); });
  expect_error(kBad, {"comes twice"}, [] { parse_model_config(R"({"a":1,"a":2})"); });
}

GgufBuilder gguf_llama() {
  GgufBuilder b;
  b.text("general.architecture", "llama")
      .u32("llama.embedding_length", 64)
      .u32("llama.feed_forward_length", 176);
  b.u32("llama.block_count", 2).u32("llama.attention.head_count", 4).u32("llama.context_length", 2048);
  b.f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return b;
}

TEST(ModelConfigFromGguf, ReadsTheKeys) {
  GgufBuilder b = gguf_llama();
  b.u32("llama.attention.head_count_kv", 2)
      .u32("llama.attention.key_length", 32)
      .u32("llama.vocab_size", 300);
  b.u32("llama.attention.value_length", 32).f32("llama.rope.freq_base", 5e5f);
  b.u32("tokenizer.ggml.bos_token_id", 1)
      .u32("tokenizer.ggml.eos_token_id", 2)
      .u32("tokenizer.ggml.eot_token_id", 7);
  const std::string bytes = b.bytes();
  const ModelConfig c = parse_model_config(GgufFile::parse(as_span(bytes)));
  EXPECT_EQ(c.family, Family::kLlama);
  EXPECT_EQ(c.num_key_value_heads, 2);
  EXPECT_EQ(c.head_dim, 32);
  EXPECT_EQ(c.vocab_size, 300);
  EXPECT_EQ(c.rope.theta, 5e5);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(2, 7));
}

struct BadGgufConfig {
  const char* name;
  std::function<void(GgufBuilder&)> change;
  ErrorCode code;
  std::vector<std::string> says;
};
class GgufConfigBad : public testing::TestWithParam<BadGgufConfig> {};

TEST_P(GgufConfigBad, IsRefused) {
  GgufBuilder b = gguf_llama();
  GetParam().change(b);
  const std::string bytes = b.bytes();
  expect_error(GetParam().code, GetParam().says,
               [&] { parse_model_config(GgufFile::parse(as_span(bytes))); });
}

INSTANTIATE_TEST_SUITE_P(
    Table, GgufConfigBad,
    testing::Values(
        BadGgufConfig{"no_vocabulary", [](auto&) {}, kBad, {"llama.vocab_size"}},
        BadGgufConfig{"no_keys", [](auto& b) { b = GgufBuilder(); }, kBad, {"general.architecture"}},
        BadGgufConfig{"architecture",
                      [](auto& b) { b = GgufBuilder().text("general.architecture", "gemma"); },
                      kUnsupported,
                      {"gemma", "qwen2"}},
        BadGgufConfig{"missing",
                      [](auto& b) { b = GgufBuilder().text("general.architecture", "qwen2"); },
                      kBad,
                      {"qwen2.embedding_length", "missing"}},
        BadGgufConfig{"zero_vocab",
                      [](auto& b) { b.u32("llama.vocab_size", 0); },
                      kBad,
                      {"llama.vocab_size", "found 0"}},
        BadGgufConfig{"kv_heads",
                      [](auto& b) { b.u32("llama.vocab_size", 9).u32("llama.attention.head_count_kv", 3); },
                      kBad,
                      {"num_key_value_heads 3"}},
        BadGgufConfig{"kv_text",
                      [](auto& b) { b.text("llama.attention.head_count_kv", "4"); },
                      kBad,
                      {"head_count_kv", "found string"}},
        BadGgufConfig{"value_length",
                      [](auto& b) { b.u32("llama.attention.value_length", 32); },
                      kUnsupported,
                      {"value_length"}},
        BadGgufConfig{"partial_rope",
                      [](auto& b) { b.u32("llama.rope.dimension_count", 8); },
                      kUnsupported,
                      {"dimension_count"}},
        BadGgufConfig{
            "experts", [](auto& b) { b.u32("llama.expert_count", 8); }, kUnsupported, {"expert_count"}},
        BadGgufConfig{"theta",
                      [](auto& b) { b.u32("llama.vocab_size", 9).f32("llama.rope.freq_base", -1); },
                      kBad,
                      {"freq_base"}},
        BadGgufConfig{
            "rope_kind",
            [](auto& b) { b.u32("llama.vocab_size", 9).text("llama.rope.scaling.type", "longrope"); },
            kUnsupported,
            {"longrope"}},
        BadGgufConfig{"rope_factor",
                      [](auto& b) { b.u32("llama.vocab_size", 9).text("llama.rope.scaling.type", "linear"); },
                      kBad,
                      {"rope.scaling.factor"}},
        BadGgufConfig{"bos",
                      [](auto& b) { b.u32("llama.vocab_size", 9).u32("tokenizer.ggml.bos_token_id", 9); },
                      kBad,
                      {"bos_token_id", "0 to 8"}}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace beacon
