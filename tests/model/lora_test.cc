// LoRA on the base's projections: how it begins, who passes through it, and that it is what merged weights
// are.
#include "model/beacon_parameters.h"
#include "model/recorded_forward.h"
#include "model/slow_twin.h"

namespace beacon {
namespace {

using namespace beacon::testing;

class LoraTest : public TensorTest {
 protected:
  void SetUp() override {
    TensorTest::SetUp();
    config_ = tiny_config();
    weights_ = tiny_weights(config_);
  }

  BeaconParameters parameters(const LoraConfig& lora, uint64_t seed = 1) const {
    BeaconParameters out = BeaconParameters::from(config_, weights_, {.q = true}, std::nullopt);
    out.add_lora(weights_, lora, seed);
    return out;
  }

  // Hidden states of the tokens among eight rows, [1, 6, D].
  at::Tensor recorded(const BeaconParameters& parameters, at::ScalarType compute) const {
    const std::vector<int32_t> ids = {3, 1, 4, 20, 5, 9, 2, 20}, positions = positions_from(0, 8);
    const std::vector<int64_t> beacons = {3, 7}, hidden = {0, 1, 2, 4, 5, 6};
    RecordedRows rows;
    rows.ids = ids;
    rows.positions = rows.key_positions = positions;
    rows.beacon_rows = beacons;
    rows.hidden_rows = hidden;
    const at::Tensor nothing = at::zeros({1, 0, 16}, compute);
    const std::vector<RecordedKv> memory(3, {nothing, nothing});
    const RecordedNetwork net(config_, frozen_base(weights_, compute), parameters,
                              ops::Rope(config_.rope, config_.head_dim, config_.max_position_embeddings),
                              {ops::autograd::Recording::kFused, compute});
    return net.forward(rows, memory).hidden;
  }

  static std::array<ops::Weight*, 4> projections(LayerWeights& w) { return {&w.q, &w.k, &w.v, &w.o}; }

  // Low-rank parts on q, k, v and o of all layers, of about the size of the weights.
  void add_low_rank_parts() {
    for (LayerWeights& layer : weights_.layers) {
      for (ops::Weight* w : projections(layer)) {
        const double size = 1 / std::sqrt(static_cast<double>(w->in));
        w->low_rank = {at::randn({3, w->in}) * size, at::randn({w->out, 3}), 0.5};
      }
    }
  }

  // The same model with W + scale B A in place of each W.
  ModelWeights merged_by_hand() const {
    ModelWeights out = weights_;
    for (LayerWeights& layer : out.layers) {
      for (ops::Weight* w : projections(layer)) {
        const at::Tensor matrix =
            at::from_blob(const_cast<std::byte*>(w->data), {w->out, w->in}, at::kFloat).to(at::kDouble);
        const at::Tensor change = at::mm(w->low_rank.b.to(at::kDouble), w->low_rank.a.to(at::kDouble));
        ops::Weight merged =
            make_weight(DType::kF32, (matrix + w->low_rank.scale * change).to(at::kFloat)).weight;
        merged.bias = w->bias;
        *w = merged;
      }
    }
    return out;
  }

  ModelConfig config_;
  ModelWeights weights_;
};

constexpr LoraConfig kAll{.rank = 4, .alpha = 8, .q = true, .k = true, .v = true, .o = true};

TEST_F(LoraTest, BeginsAsInPeft) {
  const BeaconParameters p = parameters(kAll);
  EXPECT_EQ(p.lora_scale, 2.0);
  ASSERT_EQ(p.layers.size(), 3U);
  std::vector<at::Tensor> all;
  for (const BeaconLayerParameters& layer : p.layers) {
    const std::pair<const LoraMatrices*, std::pair<int64_t, int64_t>> shapes[] = {{&layer.lora_q, {32, 32}},
                                                                                  {&layer.lora_k, {16, 32}},
                                                                                  {&layer.lora_v, {16, 32}},
                                                                                  {&layer.lora_o, {32, 32}}};
    for (const auto& [matrices, shape] : shapes) {
      EXPECT_EQ(matrices->a.sizes().vec(), (std::vector<int64_t>{4, shape.second}));
      expect_equal(matrices->b.detach(), at::zeros({shape.first, 4}));
      EXPECT_TRUE(matrices->a.requires_grad() && matrices->b.requires_grad());
      all.push_back(matrices->a.detach().flatten());
    }
  }
  const at::Tensor a = at::cat(all);
  const double bound = 1 / std::sqrt(32.0);
  EXPECT_LE(a.abs().max().item<double>(), bound);
  // 1536 uniform numbers: mean 0 and variance bound^2 / 3 within five standard errors.
  const double n = static_cast<double>(a.numel());
  EXPECT_NEAR(a.mean().item<double>(), 0, 5 * bound / std::sqrt(3 * n));
  EXPECT_NEAR(a.square().mean().item<double>() / (bound * bound), 1.0 / 3, 5 * std::sqrt(4 / (45 * n)));
  for (size_t i = 1; i < all.size(); ++i) EXPECT_FALSE(at::equal(all[0], all[i])) << i;
}

TEST_F(LoraTest, AMatrixFollowsFromSeedLayerAndTarget) {
  const BeaconParameters all = parameters(kAll), one = parameters({.rank = 4, .alpha = 8, .v = true});
  expect_equal(one.layers[1].lora_v.a, all.layers[1].lora_v.a);
  EXPECT_FALSE(one.layers[1].lora_q.a.defined());
  EXPECT_FALSE(at::equal(parameters(kAll, 2).layers[1].lora_v.a, all.layers[1].lora_v.a));
}

TEST_F(LoraTest, IsNamedAndExportedLast) {
  const BeaconParameters p = parameters({.rank = 4, .alpha = 8, .k = true});
  std::vector<std::string> names;
  for (const NamedParameter& parameter : p.named()) {
    if (parameter.kind == ParameterKind::kLora) names.push_back(parameter.name);
  }
  ASSERT_EQ(names.size(), 6U);
  EXPECT_EQ(names[2], "base_model.model.model.layers.1.self_attn.k_proj.lora_A.weight");
  EXPECT_EQ(names[3], "base_model.model.model.layers.1.self_attn.k_proj.lora_B.weight");
  int found = 0;
  for (const auto& [name, tensor] : adapter_tensors(p, at::kBFloat16)) {
    if (name != names[2]) continue;
    ++found;
    expect_equal(tensor, p.layers[1].lora_k.a.detach().to(at::kBFloat16));
  }
  EXPECT_EQ(found, 1);
  EXPECT_EQ(p.without_lora().named().size(), p.named().size() - 6);
}

TEST_F(LoraTest, GoesOnFromTheWeights) {
  add_low_rank_parts();
  LoraConfig lora = kAll;
  lora.rank = 3;
  lora.alpha = 1.5;
  const BeaconParameters p = parameters(lora);
  expect_equal(p.layers[2].lora_o.a.detach(), weights_.layers[2].o.low_rank.a);
  expect_equal(p.layers[2].lora_o.b.detach(), weights_.layers[2].o.low_rank.b);
  EXPECT_NE(p.layers[2].lora_o.a.data_ptr(), weights_.layers[2].o.low_rank.a.data_ptr());
  // What is recorded as frozen is the base alone.
  const RecordedBase base = frozen_base(weights_, at::kFloat);
  add_low_rank_parts();
  expect_equal(frozen_base(weights_, at::kFloat).layers[2].o.weight, base.layers[2].o.weight);
}

TEST_F(LoraTest, TheEngineComputesWhatMergedWeightsDo) {
  // Beacons have their own q and v; their k and o are the base's, LoRA included.
  for (LayerWeights& layer : weights_.layers) layer.beacon.k = layer.beacon.o = {};
  TwinRows rows;
  ForwardRows in;
  for (int32_t r = 0; r < 24; ++r) {
    rows.ids.push_back(r % 5 == 4 ? 20 : r * 7 % 20);
    rows.positions.push_back(r);
    if (r % 5 == 4) rows.beacon_rows.push_back(r);
  }
  const at::Tensor without = run_twin(config_, weights_, rows).hidden;
  add_low_rank_parts();
  const TwinResult expected = run_twin(config_, merged_by_hand(), rows);
  EXPECT_GT((expected.hidden - without).abs().max().item<double>(), 1e-2);
  const Transformer net = make_transformer(config_, weights_);
  TransformerScratch scratch;
  KvMemory memory = empty_memory(config_);
  // Many rows at once, then few.
  for (const auto& [begin, count] : {std::pair<size_t, size_t>{0, 20}, std::pair<size_t, size_t>{20, 4}}) {
    in.ids = std::span(rows.ids).subspan(begin, count);
    in.positions = std::span(rows.positions).subspan(begin, count);
    std::vector<int32_t> beacons;
    for (const int32_t r : rows.beacon_rows) {
      const auto row = static_cast<size_t>(r);
      if (row >= begin && row < begin + count) beacons.push_back(r - static_cast<int32_t>(begin));
    }
    in.beacon_rows = beacons;
    in.hidden_rows = static_cast<int64_t>(count);
    // As the tests of the network: three layers of f32 against double.
    expect_close(net.forward(in, memory, scratch)[0],
                 expected.hidden.narrow(0, static_cast<int64_t>(begin), in.hidden_rows), 3e-5);
  }
}

// A fresh LoRA is a zero that is added.
TEST_F(LoraTest, AFreshOneChangesNothing) {
  const BeaconParameters with = parameters(kAll);
  expect_equal(recorded(with, at::kFloat).detach(), recorded(with.without_lora(), at::kFloat).detach());
}

// Products in bf16; masters and their gradients are f32.
TEST_F(LoraTest, Bf16StaysNear) {
  const at::Tensor direction = at::randn({1, 6, 32});
  std::vector<std::vector<at::Tensor>> gradients;
  for (const at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    const BeaconParameters p = parameters(kAll);
    at::manual_seed(3);
    for (const NamedParameter& parameter : p.named()) {
      if (parameter.name.ends_with("lora_B.weight")) parameter.tensor.detach().normal_(0.0, 0.2);
    }
    (recorded(p, compute).to(at::kFloat) * direction).sum().backward();
    std::vector<at::Tensor>& list = gradients.emplace_back();
    for (const NamedParameter& parameter : p.named()) {
      if (parameter.kind == ParameterKind::kLora) list.push_back(parameter.tensor.grad());
    }
  }
  ASSERT_EQ(gradients[0].size(), 24U);
  for (size_t i = 0; i < 24; ++i) {
    SCOPED_TRACE(i);
    ASSERT_TRUE(gradients[0][i].defined() && gradients[1][i].defined());
    EXPECT_EQ(gradients[1][i].scalar_type(), at::kFloat);
    const double error = ((gradients[1][i] - gradients[0][i]).norm() / gradients[0][i].norm()).item<double>();
    // As the test of the engine in bf16, there and back: some 30 roundings as independent errors, twice that
    // for safety.
    EXPECT_LE(error, 2 * std::sqrt(30.0) * kEpsBf16);
    EXPECT_GT(error, kEpsBf16 / 16);
  }
}

}  // namespace
}  // namespace beacon
