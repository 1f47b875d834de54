#include "io/lora.h"

#include "io/adapter.h"
#include "io/checkpoint.h"
#include "io/convert.h"
#include "io_test.h"

namespace beacon {
namespace {

namespace fs = std::filesystem;

TEST(LoraNames, AreThoseOfPeft) {
  const char* text = "base_model.model.model.layers.12.self_attn.q_proj.lora_A.weight";
  const auto name = parse_lora_tensor_name(text);
  ASSERT_TRUE(name);
  EXPECT_EQ(name->layer, 12);
  EXPECT_EQ(name->target, 'q');
  EXPECT_EQ(name->matrix, 'A');
  EXPECT_EQ(name->text(), text);
  EXPECT_EQ(name->base(), "model.layers.12.self_attn.q_proj.weight");
}

TEST(LoraNames, OthersAreNone) {
  for (const char* text :
       {"", "base_model.model.model.layers.", "model.layers.0.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.x.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.-1.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.01.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.99999999999999999999.self_attn.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.x_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn._proj.lora_A.weight",
        "base_model.model.model.layers.0.mlp.q_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_C.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_.weight",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight2",
        "base_model.model.model.layers.0.self_attn.q_proj.lora_A"}) {
    EXPECT_FALSE(parse_lora_tensor_name(text)) << text;
  }
}

class LoraAdapter : public testing::Test {
 protected:
  LoraAdapter() { config_.lora = LoraConfig{.rank = 2, .alpha = 4, .q = true}; }

  void put(char target, char matrix, std::vector<int64_t> shape) {
    const std::string name = LoraTensorName{0, target, matrix}.text();
    size_t bytes = sizeof(float);
    for (const int64_t size : shape) bytes *= static_cast<size_t>(size);
    tensors_.push_back({name, DType::kF32, std::move(shape), as_span(zeros_).first(bytes)});
  }
  void write() const { write_adapter(folder_ / "a", config_, {}, tensors_); }

  TempFolder folder_;
  BeaconConfig config_;
  std::string zeros_ = std::string(1 << 16, '\0');
  std::vector<TensorView> tensors_;
};

TEST_F(LoraAdapter, RoundTrip) {
  put('q', 'A', {2, 5});
  put('q', 'B', {3, 2});
  write();
  const auto adapter = Adapter::open(folder_ / "a");
  EXPECT_EQ(adapter->config(), config_);
  EXPECT_EQ(adapter->config().lora->scale(), 2.0);
  ASSERT_NE(adapter->find("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"), nullptr);
  // The same tensors, added twice as strongly, are another adapter.
  config_.lora->alpha = 8;
  write_adapter(folder_ / "b", config_, {}, tensors_);
  EXPECT_NE(Adapter::open(folder_ / "b")->fingerprint(), adapter->fingerprint());
}

TEST_F(LoraAdapter, WrongContentsAreNamed) {
  put('q', 'A', {2, 5});
  expect_error(ErrorCode::kMismatch, {"q_proj.lora_A", "without", "q_proj.lora_B"}, [&] { write(); });
  put('q', 'B', {3, 4});
  expect_error(ErrorCode::kMismatch, {"q_proj.lora_B", "[out, 2]", "rank 2", "[3, 4]"}, [&] { write(); });
  tensors_.pop_back();
  put('q', 'B', {3, 2});
  write();
  put('v', 'A', {2, 5});
  expect_error(ErrorCode::kMismatch, {"v_proj.lora_A", "beacon_lora"}, [&] { write(); });
  tensors_.pop_back();
  config_.lora.reset();
  expect_error(ErrorCode::kMismatch, {"q_proj.lora_A", "beacon_lora"}, [&] { write(); });
}

TEST_F(LoraAdapter, DoesNotMergeIntoWhatItDoesNotFit) {
  put('q', 'A', {2, 5});
  put('q', 'B', {3, 2});
  write();
  const fs::path base = data_dir() / "models/llama_tiny";
  expect_error(ErrorCode::kMismatch, {"q_proj.lora_", "should have shape", "to fit"},
               [&] { merge(base, folder_ / "a", folder_ / "out"); });
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(LoraAdapter, DoesNotMergeIntoOtherElementTypes) {
  put('q', 'A', {2, 64});
  put('q', 'B', {128, 2});
  write();
  const fs::path source = data_dir() / "models/llama_tiny";
  fs::create_directories(folder_ / "base");
  write_file(folder_ / "base/config.json", read_file(source / "config.json"));
  const auto file = SafetensorsFile::open(source / "model.safetensors");
  std::vector<TensorView> tensors = file.tensors();
  for (TensorView& tensor : tensors) {
    if (tensor.name != "model.layers.0.self_attn.q_proj.weight") continue;
    tensor.dtype = DType::kI8;
    tensor.bytes = tensor.bytes.first(tensor.bytes.size() / 4);
  }
  write_safetensors(folder_ / "base/model.safetensors", tensors);
  expect_error(ErrorCode::kUnsupported, {"F32, BF16 or F16", "q_proj", "I8"},
               [&] { merge(folder_ / "base", folder_ / "a", folder_ / "out"); });
}

TEST(Lora, IsNotReadFromTheConfigurationOfABase) {
  TempFolder folder;
  const fs::path source = data_dir() / "models/llama_tiny";
  write_file(folder / "model.safetensors", read_file(source / "model.safetensors"));
  std::string text = read_file(source / "config.json");
  text.replace(text.find('{'), 1,
               R"({"beacon_lora":{"r":2,"lora_alpha":4,"target_modules":["q_proj"]},"beacon_window":32,)");
  write_file(folder / "config.json", text);
  expect_error(ErrorCode::kUnsupported, {"beacon_lora", "adapter"}, [&] { Checkpoint::open(folder.path()); });
}

}  // namespace
}  // namespace beacon
