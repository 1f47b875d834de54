#include "model/weights.h"

#include <unistd.h>

#include <filesystem>

#include "io/convert.h"
#include "io/safetensors.h"
#include "model/slow_twin.h"
#include "ops/tensor_check.h"

namespace beacon {
namespace {

using namespace beacon::testing;
namespace fs = std::filesystem;

const fs::path kModels = fs::path(BEACON_TEST_DATA_DIR) / "models";

// Tensors by name, to be changed and written again.
struct Tensors {
  std::vector<std::pair<TensorView, at::Tensor>> list;  // the view's bytes are the tensor's

  void put(const std::string& name, const at::Tensor& values) {
    drop(name);
    const at::Tensor kept = values.contiguous();
    TensorView view;
    view.name = name;
    view.dtype = kept.scalar_type() == at::kBFloat16 ? DType::kBF16
                 : kept.scalar_type() == at::kLong   ? DType::kI64
                                                     : DType::kF32;
    view.shape = kept.sizes().vec();
    view.bytes = {static_cast<const std::byte*>(kept.const_data_ptr()), kept.nbytes()};
    list.emplace_back(view, kept);
  }
  void drop(const std::string& name) {
    std::erase_if(list, [&](const auto& entry) { return entry.first.name == name; });
  }
  std::vector<TensorView> views() const {
    std::vector<TensorView> out;
    for (const auto& entry : list) out.push_back(entry.first);
    return out;
  }
};

at::Tensor read(const TensorView& view) {
  at::Tensor out = at::empty(view.shape, at::kFloat);
  std::memcpy(out.data_ptr(), view.bytes.data(), view.bytes.size());
  return out;
}

class WeightsTest : public TensorTest {
 protected:
  WeightsTest() {
    std::string pattern = (fs::temp_directory_path() / "beacon-weights-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
    const auto file = SafetensorsFile::open(kModels / "llama_tiny" / "model.safetensors");
    for (const TensorView& view : file.tensors()) base_.put(view.name, read(view));
    fs::copy_file(kModels / "llama_tiny" / "config.json", folder_ / "config.json");
  }
  ~WeightsTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  std::shared_ptr<const Checkpoint> checkpoint() const {
    write_safetensors(folder_ / "model.safetensors", base_.views());
    return Checkpoint::open(folder_);
  }
  ModelWeights load(std::optional<float> gate = std::nullopt) const {
    std::shared_ptr<const Adapter> adapter;
    if (!adapter_.list.empty()) {
      write_adapter(folder_ / "adapter", config_, {}, adapter_.views());
      adapter = Adapter::open(folder_ / "adapter");
    }
    return load_weights(checkpoint(), adapter, config_, gate);
  }
  at::Tensor base(const std::string& name) const {
    for (const auto& entry : base_.list) {
      if (entry.first.name == name) return entry.second;
    }
    return {};
  }

  fs::path folder_;
  Tensors base_, adapter_;
  BeaconConfig config_;
};

TEST_F(WeightsTest, BindsEveryTensorByName) {
  const ModelWeights w = load();
  expect_equal(ops::expand(w.embed, at::kFloat), base("model.embed_tokens.weight"));
  expect_equal(ops::expand(w.lm_head, at::kFloat), base("lm_head.weight"));
  expect_equal(w.norm, base("model.norm.weight"));
  ASSERT_EQ(w.layers.size(), 3U);
  for (int l = 0; l < 3; ++l) {
    const LayerWeights& layer = w.layers[static_cast<size_t>(l)];
    const std::string p = "model.layers." + std::to_string(l) + ".";
    expect_equal(layer.input_norm, base(p + "input_layernorm.weight"));
    expect_equal(layer.post_norm, base(p + "post_attention_layernorm.weight"));
    const auto same = [&](const ops::Weight& weight, const std::string& name) {
      SCOPED_TRACE(name);
      expect_equal(ops::expand(weight, at::kFloat), base(p + name + ".weight"));
      EXPECT_FALSE(weight.bias.defined());
    };
    same(layer.q, "self_attn.q_proj");
    same(layer.k, "self_attn.k_proj");
    same(layer.v, "self_attn.v_proj");
    same(layer.o, "self_attn.o_proj");
    same(layer.gate, "mlp.gate_proj");
    same(layer.up, "mlp.up_proj");
    same(layer.down, "mlp.down_proj");
    EXPECT_FALSE(layer.beacon.q.defined());
    EXPECT_FALSE(layer.beacon.gate.defined());
  }
  int64_t elements = 0;
  for (const auto& entry : base_.list) elements += entry.second.numel();
  EXPECT_EQ(w.num_parameters, elements);
  EXPECT_EQ(w.bytes, elements * 4);
  EXPECT_FALSE(w.trained_beacons);
}

TEST_F(WeightsTest, AMissingTensorIsNamed) {
  for (const std::string name :
       {"model.norm.weight", "lm_head.weight", "model.layers.2.mlp.up_proj.weight"}) {
    const at::Tensor kept = base(name);
    base_.drop(name);
    expect_error(ErrorCode::kNotFound, name, [&] { load(); });
    base_.put(name, kept);
  }
}

TEST_F(WeightsTest, AWrongShapeIsNamed) {
  const std::string name = "model.layers.1.self_attn.k_proj.weight";
  base_.put(name, at::randn({64, 32}));
  expect_error(ErrorCode::kMismatch, name, [&] { load(); });
  base_.put(name, at::randn({128, 64}));
  expect_error(ErrorCode::kMismatch, "[64, 64]", [&] { load(); });
}

TEST_F(WeightsTest, AnElementTypeWithoutMeaningIsRefused) {
  const std::string matrix = "model.layers.1.self_attn.k_proj.weight", vector = "model.norm.weight";
  const at::Tensor kept = base(matrix);
  base_.put(matrix, at::ones({64, 64}, at::kLong));
  expect_error(ErrorCode::kUnsupported, matrix, [&] { load(); });
  base_.put(matrix, kept);
  base_.put(vector, at::ones({64}, at::kLong));
  expect_error(ErrorCode::kUnsupported, vector, [&] { load(); });
}

TEST_F(WeightsTest, NormsMustBeFinite) {
  const std::string name = "model.layers.1.input_layernorm.weight";
  for (const float bad : {NAN, HUGE_VALF}) {
    at::Tensor values = at::ones({64});
    values[63] = bad;
    base_.put(name, values);
    expect_error(ErrorCode::kBadFile, name, [&] { load(); });
  }
}

TEST_F(WeightsTest, BiasesFollowTheConfiguration) {
  const auto open = [](const char* model) { return Checkpoint::open(kModels / model); };
  const auto file = SafetensorsFile::open(kModels / "qwen2_tiny" / "model.safetensors");
  const ModelWeights w = load_weights(open("qwen2_tiny"), nullptr, {}, std::nullopt);
  expect_equal(w.layers[1].q.bias, read(*file.find("model.layers.1.self_attn.q_proj.bias")));
  expect_equal(w.layers[1].v.bias, read(*file.find("model.layers.1.self_attn.v_proj.bias")));
  EXPECT_FALSE(w.layers[1].o.bias.defined());
  EXPECT_EQ(w.lm_head.data, w.embed.data);  // tied
  EXPECT_TRUE(load_weights(open("llama2_tiny"), nullptr, {}, std::nullopt).layers[0].o.bias.defined());
}

TEST_F(WeightsTest, AnAdapterGivesTheBeaconsProjections) {
  config_.params = {.q = true, .k = true, .v = true, .o = true};
  const std::string p = "model.layers.1.self_attn.beacon_";
  const at::Tensor q = at::randn({128, 64}), k = at::randn({64, 64}), bias = at::randn({64}),
                   gate = at::randn({4}), embed = at::randn({1, 64});
  adapter_.put(p + "q_proj.weight", q);
  adapter_.put(p + "k_proj.weight", k.to(at::kBFloat16));
  adapter_.put(p + "k_proj.bias", bias);
  adapter_.put(p + "gate", gate);
  adapter_.put("model.beacon_embed_tokens.weight", embed);
  config_.gate = true;
  const ModelWeights w = load(-4.0F);
  EXPECT_TRUE(w.trained_beacons);
  expect_equal(w.beacon_embed, embed[0]);
  expect_equal(w.echo_embed, embed[0]);
  const BeaconProjections& one = w.layers[1].beacon;
  expect_equal(ops::expand(one.q, at::kFloat), q);
  expect_equal(ops::expand(one.k, at::kFloat), k.to(at::kBFloat16).to(at::kFloat));
  expect_equal(one.k.bias, bias);
  EXPECT_FALSE(one.v.defined());
  EXPECT_FALSE(one.o.defined());
  expect_equal(one.gate, gate);
  EXPECT_FALSE(w.layers[0].beacon.q.defined());
  expect_equal(w.layers[0].beacon.gate, at::full({4}, -4.0F));
}

// Without a bias of its own a beacon projection has the base's, as the copy it was made from.
TEST_F(WeightsTest, ABeaconProjectionInheritsTheBias) {
  const auto qwen = Checkpoint::open(kModels / "qwen2_tiny");
  const ModelWeights plain = load_weights(qwen, nullptr, {}, std::nullopt);
  const ops::Weight& base_q = plain.layers[0].q;
  config_.params.q = true;
  adapter_.put("model.layers.0.self_attn.beacon_q_proj.weight", at::randn({base_q.out, base_q.in}));
  write_adapter(folder_ / "adapter", config_, {}, adapter_.views());
  const ModelWeights w = load_weights(qwen, Adapter::open(folder_ / "adapter"), config_, std::nullopt);
  expect_equal(w.layers[0].beacon.q.bias, base_q.bias);
}

TEST_F(WeightsTest, AnAdapterOfAnotherModelIsRefused) {
  config_.params.q = true;
  const std::string p = "model.layers.0.self_attn.beacon_";
  adapter_.put(p + "q_proj.weight", at::randn({64, 64}));
  expect_error(ErrorCode::kMismatch, p + "q_proj.weight", [&] { load(); });
  adapter_ = {};
  adapter_.put(p + "gate", at::randn({5}));
  config_.gate = true;
  expect_error(ErrorCode::kMismatch, p + "gate", [&] { load(); });
  adapter_ = {};
  adapter_.put("model.beacon_embed_tokens.weight", at::randn({1, 32}));
  expect_error(ErrorCode::kMismatch, "beacon_embed_tokens", [&] { load(); });
  adapter_ = {};
  adapter_.put("model.beacon_embed_tokens.weight", at::full({1, 64}, NAN));
  expect_error(ErrorCode::kBadFile, "beacon_embed_tokens", [&] { load(); });
}

std::string lora(int64_t layer, char target, char matrix) {
  return LoraTensorName{layer, target, matrix}.text();
}

TEST_F(WeightsTest, LoraBecomesALowRankPartOfTheBase) {
  config_.lora = LoraConfig{.rank = 4, .alpha = 8, .q = true, .o = true};
  const at::Tensor qa = at::randn({4, 64}), qb = at::randn({128, 4}), oa = at::randn({4, 128}),
                   ob = at::randn({64, 4});
  adapter_.put(lora(1, 'q', 'A'), qa);
  adapter_.put(lora(1, 'q', 'B'), qb.to(at::kBFloat16));
  adapter_.put(lora(1, 'o', 'A'), oa);
  adapter_.put(lora(1, 'o', 'B'), ob);
  const ModelWeights w = load();
  EXPECT_TRUE(w.trained_beacons);
  const LayerWeights& one = w.layers[1];
  expect_equal(one.q.low_rank.a, qa);
  expect_equal(one.q.low_rank.b, qb.to(at::kBFloat16).to(at::kFloat));
  expect_equal(one.o.low_rank.a, oa);
  expect_equal(one.o.low_rank.b, ob);
  EXPECT_EQ(one.q.low_rank.scale, 2.0);
  EXPECT_FALSE(one.k.low_rank.defined());
  EXPECT_FALSE(one.v.low_rank.defined());
  EXPECT_FALSE(w.layers[0].q.low_rank.defined());
  EXPECT_EQ(w.bytes - load_weights(checkpoint(), nullptr, {}, std::nullopt).bytes,
            4 * (qa.numel() + qb.numel() + oa.numel() + ob.numel()));
}

TEST_F(WeightsTest, LoraOfAnotherModelIsRefused) {
  config_.lora = LoraConfig{.rank = 4, .alpha = 8, .v = true};
  adapter_.put(lora(0, 'v', 'A'), at::randn({4, 32}));
  adapter_.put(lora(0, 'v', 'B'), at::randn({64, 4}));
  expect_error(ErrorCode::kMismatch, lora(0, 'v', 'A'), [&] { load(); });
  adapter_.put(lora(0, 'v', 'A'), at::randn({4, 64}));
  adapter_.put(lora(0, 'v', 'B'), at::randn({128, 4}));
  expect_error(ErrorCode::kMismatch, lora(0, 'v', 'B'), [&] { load(); });
  adapter_.put(lora(0, 'v', 'B'), at::full({64, 4}, NAN));
  expect_error(ErrorCode::kBadFile, lora(0, 'v', 'B'), [&] { load(); });
}

// Logits of 30 rows with beacons among them, then of one more.
at::Tensor logits_of(const ModelConfig& config, const ModelWeights& weights) {
  const Transformer net = make_transformer(config, weights);
  KvMemory memory = empty_memory(config);
  TransformerScratch scratch;
  std::vector<at::Tensor> out;
  for (const auto& [begin, count] : {std::pair{0, 30}, std::pair{30, 1}}) {
    const std::vector<int32_t> positions = positions_from(begin, count);
    std::vector<int32_t> ids, beacons;
    for (const int32_t p : positions) {
      const bool beacon = p % 5 == 4;
      ids.push_back(static_cast<int32_t>(beacon ? config.vocab_size : p * 7 % config.vocab_size));
      if (beacon) beacons.push_back(p - begin);
    }
    ForwardRows rows;
    rows.ids = ids;
    rows.positions = positions;
    rows.beacon_rows = beacons;
    rows.hidden_rows = count;
    out.push_back(net.logits(net.forward(rows, memory, scratch)[0], scratch));
  }
  return at::cat(out);
}

// beacon convert merge does by plain loops, once, what a model with an adapter does in every product.
TEST_F(WeightsTest, MergedWeightsGiveTheLogitsOfTheAdapter) {
  config_.lora = LoraConfig{.rank = 3, .alpha = 6, .q = true, .k = true, .v = true, .o = true};
  config_.params.q = true;
  adapter_.put("model.beacon_embed_tokens.weight", at::randn({1, 64}));
  for (int64_t l = 0; l < 3; ++l) {
    const std::string p = "model.layers." + std::to_string(l) + ".self_attn.";
    adapter_.put(p + "beacon_q_proj.weight", at::randn({128, 64}) / 8);
    for (const char target : kLoraTargets) {
      const at::Tensor weight = base(p + target + "_proj.weight");
      adapter_.put(lora(l, target, 'A'), at::randn({3, weight.size(1)}) / 8);
      adapter_.put(lora(l, target, 'B'), at::randn({weight.size(0), 3}) / 8);
    }
  }
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    if (type == at::kBFloat16) {
      for (auto& entry : std::vector(base_.list)) {
        if (entry.second.dim() == 2) base_.put(entry.first.name, entry.second.to(type));
      }
    }
    const ModelWeights with_adapter = load();
    const ModelConfig config = checkpoint()->config();
    const fs::path out = folder_ / (type == at::kFloat ? "merged_f32" : "merged_bf16");
    merge(folder_, folder_ / "adapter", out);
    const auto merged = Checkpoint::open(out);
    ASSERT_TRUE(merged->beacon());
    EXPECT_FALSE(merged->beacon()->lora);
    for (const std::string& name : merged->names()) EXPECT_EQ(name.find("lora"), name.npos) << name;
    const ModelWeights w = load_weights(merged, nullptr, *merged->beacon(), std::nullopt);
    const at::Tensor expected = logits_of(config, with_adapter), actual = logits_of(config, w);
    const double error = ((actual - expected).norm() / expected.norm()).item<double>();
    // f32: sums in another order. bf16: 12 matrices are rounded, each by half a unit in the last place at
    // most.
    EXPECT_LE(error, type == at::kFloat ? 1e-5 : 12 * kEpsBf16);
    const at::Tensor without = logits_of(config, load_weights(checkpoint(), nullptr, {}, std::nullopt));
    EXPECT_GT((expected - without).norm().item<double>(), 0.1 * expected.norm().item<double>());
  }
}

TEST_F(WeightsTest, TheBeaconsRowBeginsAsThatOfEosOrBos) {
  const at::Tensor table = base("model.embed_tokens.weight");
  const auto config = checkpoint()->config();
  ASSERT_FALSE(config.eos_token_ids.empty());
  ASSERT_TRUE(config.bos_token_id);
  ASSERT_NE(config.eos_token_ids.front(), *config.bos_token_id);
  config_.embed_init = BeaconEmbedInit::kEos;
  expect_equal(load().beacon_embed, table[config.eos_token_ids.front()]);
  expect_equal(load().echo_embed, at::zeros({64}));  // beside the token's own
  config_.embed_init = BeaconEmbedInit::kBos;
  expect_equal(load().beacon_embed, table[*config.bos_token_id]);
}

// The weights outlive the objects they came from.
TEST_F(WeightsTest, WeightsKeepTheirFilesMapped) {
  config_.params.q = true;
  const at::Tensor q = at::randn({128, 64});
  adapter_.put("model.layers.0.self_attn.beacon_q_proj.weight", q);
  const ModelWeights w = load();
  fs::remove_all(folder_);
  expect_equal(ops::expand(w.layers[0].beacon.q, at::kFloat), q);
  expect_equal(ops::expand(w.lm_head, at::kFloat), base("lm_head.weight"));
}

// llama.cpp's converter views a head's rows as [2, H / 2] and swaps these axes; loading must undo that, in
// any type.
TEST_F(WeightsTest, LlamaGgufRowsComeBackInOrder) {
  for (const char* model : {"gguf_f32", "gguf_q8_0"}) {
    SCOPED_TRACE(model);
    const auto checkpoint = Checkpoint::open(kModels / model / "model.gguf");
    ASSERT_TRUE(checkpoint->permuted_qk());
    const ModelConfig& c = checkpoint->config();
    const ModelWeights w = load_weights(checkpoint, nullptr, {}, std::nullopt);
    const auto as_stored = [&](const ops::Weight& weight, const char* name) {
      ops::Weight stored = weight;
      stored.data = checkpoint->find(name)->bytes.data();
      return ops::expand(stored, at::kFloat);
    };
    const auto permuted = [&](const ops::Weight& weight) {
      const at::Tensor rows = ops::expand(weight, at::kFloat);
      return rows.view({-1, 2, c.head_dim / 2, weight.in}).transpose(1, 2).reshape(rows.sizes());
    };
    const LayerWeights& layer = w.layers[0];
    expect_equal(permuted(layer.q), as_stored(layer.q, "model.layers.0.self_attn.q_proj.weight"));
    expect_equal(permuted(layer.k), as_stored(layer.k, "model.layers.0.self_attn.k_proj.weight"));
    EXPECT_FALSE(at::equal(permuted(layer.q), ops::expand(layer.q, at::kFloat)));
    expect_equal(ops::expand(layer.v, at::kFloat),
                 as_stored(layer.v, "model.layers.0.self_attn.v_proj.weight"));
  }
}

}  // namespace
}  // namespace beacon
