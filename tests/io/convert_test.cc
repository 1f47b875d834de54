#include "io/convert.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/adapter.h"
#include "io/checkpoint.h"
#include "io/rope_permutation.h"
#include "io_test.h"

namespace beacon {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

std::string text_of(const TensorView& t) {
  return {reinterpret_cast<const char*>(t.bytes.data()), t.bytes.size()};
}

// Same tensors, bit for bit.
void expect_same_file(const fs::path& a, const fs::path& b) {
  const auto x = SafetensorsFile::open(a), y = SafetensorsFile::open(b);
  EXPECT_EQ(x.tensors().size(), y.tensors().size());
  EXPECT_EQ(x.metadata(), y.metadata());
  for (const TensorView& tensor : x.tensors()) {
    const TensorView* other = y.find(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_EQ(other->dtype, tensor.dtype) << tensor.name;
    EXPECT_EQ(other->shape, tensor.shape) << tensor.name;
    EXPECT_EQ(text_of(*other), text_of(tensor)) << tensor.name;
  }
}

// The text of the configuration, so that the order of the keys counts.
std::string config_text(const fs::path& folder) {
  return OrderedJson::parse(read_file(folder / "config.json")).dump();
}

void expect_split_and_merge(const fs::path& merged, const TempFolder& folder) {
  split_merged(merged, folder / "base", folder / "adapter");
  const auto whole = Checkpoint::open(merged), base = Checkpoint::open(folder / "base");
  const auto adapter = Adapter::open(folder / "adapter");
  EXPECT_FALSE(base->beacon());
  EXPECT_FALSE(base->has_beacon_tensors());
  EXPECT_EQ(base->names().size() + adapter->tensors().size(), whole->names().size());
  EXPECT_EQ(base->fingerprint(), whole->fingerprint());
  EXPECT_EQ(adapter->fingerprint(), whole->beacon_fingerprint());
  EXPECT_EQ(adapter->identity().base_fingerprint, base->fingerprint());
  merge(folder / "base", folder / "adapter", folder / "again");
  EXPECT_EQ(config_text(folder / "again"), config_text(merged));
  for (const auto& entry : fs::directory_iterator(merged)) {
    const std::string name = entry.path().filename().string();
    SCOPED_TRACE(name);
    if (entry.path().extension() == ".safetensors")
      expect_same_file(entry.path(), folder / ("again/" + name));
    else if (entry.path().extension() == ".json") {
      EXPECT_EQ(nlohmann::json::parse(read_file(entry.path())),
                nlohmann::json::parse(read_file(folder / ("again/" + name))));
    }
  }
}

// A golden case without the expected numbers.
void copy_model(const std::string& name, const fs::path& to) {
  fs::create_directories(to);
  for (const char* file : {"config.json", "model.safetensors"}) {
    write_file(to / file, read_file(data_dir() / "golden" / name / file));
  }
}

TEST(SplitAndMerge, GivesBackTheGoldenCheckpoints) {
  for (const char* name : {"param_qkvo", "qwen2_main_r2_w32", "qwen2_rope_yarn"}) {
    SCOPED_TRACE(name);
    TempFolder folder;
    copy_model(name, folder / "merged");
    write_file(folder / "merged/tokenizer.json", R"({"a": 1})");
    expect_split_and_merge(folder / "merged", folder);
    EXPECT_EQ(read_file(folder / "base/tokenizer.json"), R"({"a": 1})");
  }
}

TEST(SplitAndMerge, RemembersShardsPrefixAndCustomCode) {
  TempFolder folder;
  const fs::path merged = folder / "merged";
  copy_model("param_qkvo", merged);
  // The same checkpoint in UltraGist's spelling, in two shards of which one holds nothing but beacon tensors.
  std::string text = read_file(merged / "config.json");
  for (size_t at; (at = text.find("\"beacon_")) != text.npos;) text.replace(at, 8, "\"ultragist_");
  text.replace(text.find('{'), 1, R"({"auto_map": {"AutoConfig": "modeling_ultragist.Config"},)");
  write_file(merged / "config.json", text);
  const auto single = SafetensorsFile::open(merged / "model.safetensors");
  std::vector<TensorView> first, second;
  OrderedJson map;
  for (TensorView tensor : single.tensors()) {
    const bool own_shard = tensor.name.find("beacon_q_proj") != tensor.name.npos;
    const size_t at = tensor.name.find("beacon_");
    if (at != tensor.name.npos) tensor.name.replace(at, 7, "ultragist_");
    (own_shard ? second : first).push_back(tensor);
    map[tensor.name] = own_shard ? "model-2.safetensors" : "model-1.safetensors";
  }
  write_safetensors(merged / "model-1.safetensors", first, {{"format", "pt"}});
  write_safetensors(merged / "model-2.safetensors", second, {{"format", "pt"}});
  write_file(merged / "model.safetensors.index.json",
             OrderedJson{{"metadata", {{"total_size", 139024}}}, {"weight_map", map}}.dump());
  fs::remove(merged / "model.safetensors");
  expect_split_and_merge(merged, folder);
  EXPECT_FALSE(fs::exists(folder / "base/model-2.safetensors"));
  EXPECT_EQ(read_file(folder / "base/config.json").find("ultragist"), std::string::npos);
}

TEST(SplitAndMerge, KeepsTheYarnFormulaWithTheAdapter) {
  TempFolder folder;
  copy_model("qwen2_rope_yarn", folder / "merged");
  split_merged(folder / "merged", folder / "base", folder / "adapter");
  EXPECT_FALSE(Checkpoint::open(folder / "base")->config().rope.original_beacon_yarn);
  const auto adapter = Adapter::open(folder / "adapter");
  ASSERT_TRUE(adapter->config().rope);
  EXPECT_TRUE(adapter->config().rope->original_beacon_yarn);
  EXPECT_EQ(adapter->config().rope->factor, 4);
}

TEST(SplitAndMerge, AcceptsANewAdapter) {
  TempFolder folder;
  copy_model("param_qkvo", folder / "merged");
  split_merged(folder / "merged", folder / "base", folder / "adapter");
  const auto old = Adapter::open(folder / "adapter");
  write_adapter(folder / "new", old->config(), {}, old->tensors());
  merge(folder / "base", folder / "new", folder / "again");
  EXPECT_EQ(*Checkpoint::open(folder / "again")->beacon(), old->config());
  EXPECT_EQ(Checkpoint::open(folder / "again")->beacon_fingerprint(), old->fingerprint());
}

TEST(SplitAndMerge, KeepsTheWorthOfTokens) {
  TempFolder folder;
  copy_model("param_qkvo", folder / "merged");
  split_merged(folder / "merged", folder / "base", folder / "adapter");
  const auto old = Adapter::open(folder / "adapter");
  const int64_t vocabulary = Checkpoint::open(folder / "base")->config().vocab_size;
  BeaconConfig config = old->config();
  config.attention = BeaconAttentionRule::kChosenEcho;
  config.placement = BeaconPlacement::kInterleave;
  for (const int64_t wrong : {0, 1}) {
    const std::vector<float> worth(static_cast<size_t>(vocabulary + wrong), 0.5F);
    std::vector<TensorView> tensors = old->tensors();
    TensorView& view = tensors.emplace_back();
    view.name = kTokenWorth;
    view.dtype = DType::kF32;
    view.shape = {vocabulary + wrong};
    view.bytes = std::as_bytes(std::span(worth));
    const auto name = std::to_string(wrong);
    write_adapter(folder / ("new" + name), config, {}, tensors);
    const auto merge_it = [&] { merge(folder / "base", folder / ("new" + name), folder / ("again" + name)); };
    if (wrong != 0) {
      expect_error(ErrorCode::kMismatch, {kTokenWorth, "should have shape"}, merge_it);
      continue;
    }
    merge_it();
    EXPECT_EQ(Checkpoint::open(folder / "again0")->beacon()->attention, BeaconAttentionRule::kChosenEcho);
    ASSERT_NE(Checkpoint::open(folder / "again0")->find(kTokenWorth), nullptr);
  }
}

TEST(SplitAndMerge, RefusesWhatDoesNotBelongTogether) {
  TempFolder folder;
  copy_model("param_qkvo", folder / "merged");
  split_merged(folder / "merged", folder / "base", folder / "adapter");
  expect_error(ErrorCode::kInvalidArgument, {"not empty"},
               [&] { split_merged(folder / "merged", folder / "base", folder / "other"); });
  expect_error(ErrorCode::kInvalidArgument, {"no beacon tensors"},
               [&] { split_merged(folder / "base", folder / "x", folder / "y"); });
  expect_error(ErrorCode::kMismatch, {"already has beacon keys"},
               [&] { merge(folder / "merged", folder / "adapter", folder / "z"); });
  expect_error(ErrorCode::kMismatch, {"should have shape", "to fit"},
               [&] { merge(data_dir() / "models/llama_tiny", folder / "adapter", folder / "z"); });
  expect_error(ErrorCode::kInvalidArgument, {"GGUF"},
               [&] { merge(data_dir() / "models/gguf_f32", folder / "adapter", folder / "z"); });
}

TEST(GgufToSafetensors, KeepsTheNumbersAndUndoesThePermutation) {
  TempFolder folder;
  const fs::path source = data_dir() / "models/gguf_f32/model.gguf";
  gguf_to_safetensors(source, folder / "out", DType::kF32);
  const auto from = Checkpoint::open(source), to = Checkpoint::open(folder / "out");
  EXPECT_EQ(from->names(), to->names());
  EXPECT_EQ(to->config().rope, from->config().rope);
  EXPECT_EQ(to->config().eos_token_ids, from->config().eos_token_ids);
  const char* plain = "model.layers.0.self_attn.v_proj.weight";
  EXPECT_EQ(text_of(*to->find(plain)), text_of(*from->find(plain)));
  const TensorView& q = *from->find("model.layers.0.self_attn.q_proj.weight");
  std::string expected(q.bytes.size(), '\0');
  unpermute_rows(q.bytes, std::as_writable_bytes(std::span(expected)), q.shape[0], from->config().head_dim);
  EXPECT_EQ(text_of(*to->find(q.name)), expected);
  EXPECT_NE(text_of(q), expected);
}

TEST(GgufToSafetensors, RoundsToHalves) {
  TempFolder folder;
  const fs::path source = data_dir() / "models/gguf_f32/model.gguf";
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const fs::path out = folder / std::string(dtype_info(dtype).name);
    gguf_to_safetensors(source, out, dtype);
    const auto from = Checkpoint::open(source), to = Checkpoint::open(out);
    const char* name = "model.layers.0.mlp.up_proj.weight";
    const TensorView &x = *from->find(name), &y = *to->find(name);
    EXPECT_EQ(y.dtype, dtype);
    const double unit = dtype == DType::kBF16 ? 0x1p-8 : 0x1p-11;
    for (int64_t i = 0; i < x.elements(); ++i) {
      float a = 0, b = 0;
      uint16_t half = 0;
      std::memcpy(&a, x.bytes.data() + 4 * i, 4);
      std::memcpy(&half, y.bytes.data() + 2 * i, 2);
      if (dtype == DType::kBF16) {
        const uint32_t bits = static_cast<uint32_t>(half) << 16;
        std::memcpy(&b, &bits, 4);
      } else {
        const int exponent = (half >> 10) & 31, mantissa = half & 1023;
        b = static_cast<float>(exponent == 0 ? std::ldexp(mantissa, -24)
                                             : std::ldexp(1024 + mantissa, exponent - 25));
        if (half & 0x8000) b = -b;
      }
      ASSERT_LE(std::fabs(a - b), std::fabs(a) * unit + 0x1p-25) << i;
    }
  }
}

TEST(GgufToSafetensors, RefusesWhatCannotBeSaid) {
  TempFolder folder;
  const fs::path models = data_dir() / "models";
  expect_error(ErrorCode::kUnsupported, {"rope_freqs.weight"},
               [&] { gguf_to_safetensors(models / "gguf_rope_llama3", folder / "a", DType::kF32); });
  expect_error(ErrorCode::kInvalidArgument, {"Q8_0"},
               [&] { gguf_to_safetensors(models / "gguf_f32", folder / "b", DType::kQ8_0); });
  expect_error(ErrorCode::kInvalidArgument, {"not a GGUF file"},
               [&] { gguf_to_safetensors(models / "llama_tiny", folder / "c", DType::kF32); });
}

}  // namespace
}  // namespace beacon
