#include "io/checkpoint.h"

#include "io/adapter.h"
#include "io_test.h"

namespace beacon {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::ElementsAre;
using testing::Not;

void copy_folder(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from)) {
    if (entry.is_regular_file()) write_file(to / entry.path().filename(), read_file(entry.path()));
  }
}

// Replaces text in a file that must contain it.
void edit(const fs::path& path, const std::string& from, const std::string& to) {
  std::string text = read_file(path);
  const size_t at = text.find(from);
  ASSERT_NE(at, text.npos) << from;
  write_file(path, text.replace(at, from.size(), to));
}

TEST(Checkpoint, OpensAFolder) {
  const auto c = Checkpoint::open(data_dir() / "models/llama_tiny");
  EXPECT_EQ(c->config().head_dim, 32);
  EXPECT_EQ(c->config().num_hidden_layers, 3);
  EXPECT_GE(c->config().eos_token_ids.size(), 2u);  // generation_config.json has two
  EXPECT_FALSE(c->beacon());
  EXPECT_FALSE(c->permuted_qk());
  EXPECT_EQ(c->gguf(), nullptr);
  EXPECT_FALSE(c->rope_factors());
  EXPECT_EQ(c->get("model.layers.2.self_attn.k_proj.weight", std::vector<int64_t>{64, 64}).dtype,
            DType::kF32);
  EXPECT_EQ(c->find("model.layers.3.self_attn.k_proj.weight"), nullptr);
  expect_error(ErrorCode::kMismatch, {"k_proj", "[64, 65]", "[64, 64]"}, [&] {
    c->get("model.layers.2.self_attn.k_proj.weight", std::vector<int64_t>{64, 65});
  });
  expect_error(ErrorCode::kNotFound, {"missing"}, [&] { c->get("absent", std::vector<int64_t>{1}); });
}

TEST(Checkpoint, OpensShards) {
  const auto c = Checkpoint::open(data_dir() / "models/llama_sharded");
  EXPECT_NE(c->find("lm_head.weight"), nullptr);
  EXPECT_NE(c->find("model.layers.1.input_layernorm.weight"), nullptr);
  EXPECT_THAT(c->names(), Contains("model.norm.weight"));
}

TEST(Checkpoint, OpensEveryGoldenCase) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(data_dir() / "golden")) {
    if (!fs::exists(entry.path() / "model.safetensors")) continue;
    SCOPED_TRACE(entry.path().filename().string());
    const auto c = Checkpoint::open(entry.path());
    ASSERT_TRUE(c->beacon());
    EXPECT_EQ(c->beacon()->generation, BeaconGeneration::kThird);
    const bool plain = entry.path().filename().string().rfind("init_from_plain", 0) == 0;
    EXPECT_EQ(c->has_beacon_tensors(), !plain);
    EXPECT_EQ(c->config().rope.original_beacon_yarn, c->config().rope.kind == RopeKind::kYarn);
    ++count;
  }
  EXPECT_GE(count, 1);
}

TEST(Checkpoint, OpensGgufUnderHuggingFaceNames) {
  const fs::path folder = data_dir() / "models/gguf_f32";
  const auto c = Checkpoint::open(folder / "model.gguf");
  EXPECT_TRUE(c->permuted_qk());
  ASSERT_NE(c->gguf(), nullptr);
  EXPECT_EQ(c->config().vocab_size, 288);
  EXPECT_FALSE(c->config().tie_word_embeddings);
  EXPECT_EQ(c->names().size(), 12u);
  for (const char* name :
       {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
        "model.layers.0.input_layernorm.weight", "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight",
        "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj.weight",
        "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight",
        "model.layers.0.mlp.down_proj.weight"}) {
    EXPECT_NE(c->find(name), nullptr) << name;
  }
  // A folder with one such file is the same model.
  EXPECT_EQ(Checkpoint::open(folder)->fingerprint(), c->fingerprint());
  const auto qwen2 = Checkpoint::open(data_dir() / "models/gguf_qwen2");
  EXPECT_FALSE(qwen2->permuted_qk());
  EXPECT_TRUE(qwen2->config().qkv_bias);
  EXPECT_NE(qwen2->find("model.layers.1.self_attn.v_proj.bias"), nullptr);
}

TEST(Checkpoint, RopeOfGgufFiles) {
  const auto llama3 = Checkpoint::open(data_dir() / "models/gguf_rope_llama3");
  ASSERT_TRUE(llama3->rope_factors());
  EXPECT_EQ(llama3->rope_factors()->size(), 16u);
  EXPECT_THAT(llama3->names(), Not(Contains("rope_freqs.weight")));
  const auto yarn = Checkpoint::open(data_dir() / "models/gguf_rope_yarn");
  EXPECT_EQ(yarn->config().rope.kind, RopeKind::kYarn);
  EXPECT_EQ(yarn->config().rope.factor, 8);
  EXPECT_EQ(yarn->config().rope.original_max_position_embeddings, 64);
  EXPECT_EQ(Checkpoint::open(data_dir() / "models/gguf_rope_linear")->config().rope.kind, RopeKind::kLinear);
}

TEST(Checkpoint, NamesOutsideTheMapStay) {
  EXPECT_EQ(hf_name_of_gguf("blk.12.attn_q.bias"), "model.layers.12.self_attn.q_proj.bias");
  for (const char* name :
       {"blk.x.attn_q.weight", "blk..attn_q.weight", "blk.1.attn_q", "blk.1", "rope_freqs.weight", ""}) {
    EXPECT_EQ(hf_name_of_gguf(name), name);
  }
}

TEST(Checkpoint, MissingThingsAreNamed) {
  TempFolder folder;
  expect_error(ErrorCode::kNotFound, {"nothing", "does not exist"},
               [&] { Checkpoint::open(folder / "nothing"); });
  expect_error(ErrorCode::kNotFound, {"expected model.safetensors"},
               [&] { Checkpoint::open(folder.path()); });
  write_file(folder / "pytorch_model.bin", "x");
  expect_error(ErrorCode::kUnsupported, {".bin", "safetensors"}, [&] { Checkpoint::open(folder.path()); });
  write_file(folder / "a.gguf", "x");
  write_file(folder / "b.gguf", "x");
  expect_error(ErrorCode::kBadFile, {"2 .gguf files"}, [&] { Checkpoint::open(folder.path()); });
  write_file(folder / "empty.gguf", "");
  expect_error(ErrorCode::kBadFile, {"empty"}, [&] { Checkpoint::open(folder / "empty.gguf"); });
  write_file(folder / "model.safetensors", safetensors_bytes("{}", ""));
  expect_error(ErrorCode::kNotFound, {"config.json"}, [&] { Checkpoint::open(folder.path()); });
}

TEST(Checkpoint, ConfigurationAndTensorsMustAgree) {
  TempFolder folder;
  copy_folder(data_dir() / "models/llama_tiny", folder.path());
  edit(folder / "config.json", "\"vocab_size\": 256", "\"vocab_size\": 300");
  expect_error(ErrorCode::kMismatch, {"model.embed_tokens.weight", "[300, 64]", "[256, 64]"},
               [&] { Checkpoint::open(folder.path()); });
}

class Shards : public testing::Test {
 protected:
  void SetUp() override { copy_folder(data_dir() / "models/llama_sharded", folder_.path()); }
  TempFolder folder_;
  const char* index_ = "model.safetensors.index.json";
};

TEST_F(Shards, MissingShard) {
  fs::remove(folder_ / "model-00003-of-00004.safetensors");
  expect_error(ErrorCode::kNotFound, {"model-00003-of-00004.safetensors", "missing"},
               [&] { Checkpoint::open(folder_.path()); });
}

TEST_F(Shards, TensorInNoShard) {
  edit(folder_ / index_, "\"lm_head.weight\"",
       "\"other.weight\": \"model-00001-of-00004.safetensors\", \"lm_head.weight\"");
  expect_error(ErrorCode::kBadFile, {"other.weight", "not there"}, [&] { Checkpoint::open(folder_.path()); });
}

TEST_F(Shards, TensorTwice) {
  write_file(folder_ / "model-00004-of-00004.safetensors",
             read_file(folder_ / "model-00003-of-00004.safetensors"));
  expect_error(ErrorCode::kBadFile, {"comes twice"}, [&] { Checkpoint::open(folder_.path()); });
}

TEST_F(Shards, PathsOutOfTheFolder) {
  edit(folder_ / index_, "\"model-00004-of-00004.safetensors\"", "\"../model-00004-of-00004.safetensors\"");
  expect_error(ErrorCode::kBadFile, {"file name within the folder"},
               [&] { Checkpoint::open(folder_.path()); });
}

TEST_F(Shards, IndexWithoutMap) {
  write_file(folder_ / index_, R"({"weight_map": []})");
  expect_error(ErrorCode::kBadFile, {"weight_map"}, [&] { Checkpoint::open(folder_.path()); });
  write_file(folder_ / index_, R"({"weight_map": {"a": 1}})");
  expect_error(ErrorCode::kBadFile, {"should be a string"}, [&] { Checkpoint::open(folder_.path()); });
}

TEST(Checkpoint, ChatTemplates) {
  TempFolder folder;
  copy_folder(data_dir() / "models/llama_tiny", folder.path());
  EXPECT_FALSE(Checkpoint::open(folder.path())->chat_template());
  write_file(folder / "tokenizer_config.json", R"({"chat_template": "one"})");
  EXPECT_EQ(Checkpoint::open(folder.path())->chat_template(), "one");
  write_file(folder / "tokenizer_config.json",
             R"({"chat_template": [{"name":"rag","template":"x"},{"name":"default","template":"two"}]})");
  EXPECT_EQ(Checkpoint::open(folder.path())->chat_template(), "two");
  write_file(folder / "tokenizer_config.json", R"({"chat_template": [5]})");
  expect_error(ErrorCode::kBadFile, {"chat_template"}, [&] { Checkpoint::open(folder.path()); });
  write_file(folder / "chat_template.jinja", "three");
  EXPECT_EQ(Checkpoint::open(folder.path())->chat_template(), "three");
}

TEST(Checkpoint, FingerprintsTellModelsApart) {
  TempFolder folder;
  copy_folder(data_dir() / "models/llama_tiny", folder.path());
  const std::string original = Checkpoint::open(folder.path())->fingerprint();
  EXPECT_EQ(original.size(), 32u);
  EXPECT_EQ(original, Checkpoint::open(data_dir() / "models/llama_tiny")->fingerprint());
  edit(folder / "config.json", "500000.0", "500001.0");
  const std::string other_rope = Checkpoint::open(folder.path())->fingerprint();
  EXPECT_NE(other_rope, original);
  std::string bytes = read_file(folder / "model.safetensors");
  bytes.back() ^= 1;
  write_file(folder / "model.safetensors", bytes);
  EXPECT_NE(Checkpoint::open(folder.path())->fingerprint(), other_rope);
}

TEST(Checkpoint, BeaconTensorsNeedTheirKeys) {
  TempFolder folder;
  copy_folder(data_dir() / "golden/param_qkvo", folder.path());
  edit(folder / "config.json", "\"o\"", "\"k\"");
  expect_error(ErrorCode::kMismatch, {"beacon_o_proj", "beacon_param"},
               [&] { Checkpoint::open(folder.path()); });
  std::string text = read_file(folder / "config.json");
  for (size_t at; (at = text.find("beacon_")) != text.npos;) text.replace(at, 7, "bacon_");
  write_file(folder / "config.json", text);
  expect_error(ErrorCode::kMismatch, {"beacon tensors", "no beacon keys"},
               [&] { Checkpoint::open(folder.path()); });
}

TensorView view(std::string name, std::vector<int64_t> shape, std::string_view bytes) {
  return {std::move(name), DType::kF32, std::move(shape), as_span(bytes)};
}

TEST(Adapter, RoundTrip) {
  TempFolder folder;
  BeaconConfig config;
  config.params.q = true;
  config.gate = true;
  const std::vector<TensorView> tensors = {
      view("model.beacon_embed_tokens.weight", {1, 1}, "abcd"),
      view("model.layers.0.self_attn.beacon_q_proj.weight", {1, 2}, "01234567"),
      view("model.layers.0.self_attn.beacon_gate", {1}, "wxyz")};
  write_adapter(folder / "a", config, {"base", "tokenizer"}, tensors);
  const auto adapter = Adapter::open(folder / "a");
  EXPECT_EQ(adapter->config(), config);
  EXPECT_EQ(adapter->identity().base_fingerprint, "base");
  EXPECT_EQ(adapter->identity().tokenizer_fingerprint, "tokenizer");
  EXPECT_EQ(adapter->tensors().size(), 3u);
  EXPECT_EQ(adapter->find("model.layers.0.self_attn.beacon_gate")->shape, std::vector<int64_t>{1});
  write_adapter(folder / "b", config, {}, tensors);
  EXPECT_EQ(Adapter::open(folder / "b")->fingerprint(), adapter->fingerprint());
  EXPECT_FALSE(Adapter::open(folder / "b")->identity().base_fingerprint);
}

TEST(Adapter, WrongContentsAreNamed) {
  TempFolder folder;
  BeaconConfig config;
  constexpr auto kMismatch = ErrorCode::kMismatch;
  const auto write = [&](const char* name) {
    write_adapter(folder / "a", config, {}, std::vector{view(name, {1}, "abcd")});
  };
  expect_error(kMismatch, {"beacon_q_proj", "beacon_param"},
               [&] { write("model.layers.0.self_attn.beacon_q_proj.weight"); });
  expect_error(kMismatch, {"beacon_gate"}, [&] { write("model.layers.0.self_attn.beacon_gate"); });
  for (const char* name :
       {"model.norm.weight", "model.layers.x.self_attn.beacon_q_proj.weight", "model.layers.0",
        "model.layers.0.self_attn.beacon_q_proj.scale", "model.layers."}) {
    expect_error(kMismatch, {name, "not the name of a beacon tensor"}, [&] { write(name); });
  }
  expect_error(ErrorCode::kNotFound, {"is not a folder"}, [&] { Adapter::open(folder / "none"); });
  fs::create_directories(folder / "c");
  write_file(folder / "c/beacon_config.json", R"({"window": 5})");
  expect_error(ErrorCode::kBadFile, {"beacon_window"}, [&] { Adapter::open(folder / "c"); });
}

}  // namespace
}  // namespace beacon
