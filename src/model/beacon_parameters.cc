#include "model/beacon_parameters.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include <cmath>

#include "base/check.h"
#include "base/random.h"

namespace beacon {
namespace {

at::Tensor leaf(const at::Tensor& values) {
  return values.detach().to(at::kFloat, /*non_blocking=*/false, /*copy=*/true).set_requires_grad(true);
}

BeaconMatrix matrix(bool wanted, const ops::Weight& own, const ops::Weight& base) {
  if (!wanted) return {};
  const ops::Weight& source = own.defined() ? own : base;
  BeaconMatrix out{leaf(ops::expand(source, at::kFloat)), {}};
  if (source.bias.defined()) out.bias = leaf(source.bias);
  return out;
}

template <typename Visit>
void visit_matrices(const BeaconLayerParameters& layer, const Visit& visit) {
  visit("self_attn.beacon_q_proj", layer.q);
  visit("self_attn.beacon_k_proj", layer.k);
  visit("self_attn.beacon_v_proj", layer.v);
  visit("self_attn.beacon_o_proj", layer.o);
  visit("mlp.beacon_up_proj", layer.up);
  visit("mlp.beacon_down_proj", layer.down);
}

// Calls visit(letter, matrices) for every projection that can have LoRA.
template <typename Layer, typename Visit>
void visit_lora(Layer& layer, const Visit& visit) {
  visit('q', layer.lora_q);
  visit('k', layer.lora_k);
  visit('v', layer.lora_v);
  visit('o', layer.lora_o);
}

const ops::Weight& projection(const LayerWeights& w, char target) {
  return target == 'q' ? w.q : target == 'k' ? w.k : target == 'v' ? w.v : w.o;
}

// Kaiming's uniform distribution with a = sqrt(5) is that within 1 / sqrt(I).
at::Tensor fresh_a(int64_t rank, int64_t in, Random random) {
  at::Tensor values = at::empty({rank, in}, at::kFloat);
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  float* data = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    data[i] = static_cast<float>((2.0 * random.unit() - 1.0) * bound);
  }
  return values;
}

}  // namespace

BeaconParameters BeaconParameters::from(const ModelConfig& config, const ModelWeights& weights,
                                        const BeaconParams& which, std::optional<float> gate) {
  BeaconParameters out;
  out.embed = leaf(weights.beacon_embed);
  for (const LayerWeights& w : weights.layers) {
    BeaconLayerParameters layer;
    layer.q = matrix(which.q, w.beacon.q, w.q);
    layer.k = matrix(which.k, w.beacon.k, w.k);
    layer.v = matrix(which.v, w.beacon.v, w.v);
    layer.o = matrix(which.o, w.beacon.o, w.o);
    layer.up = matrix(which.mlp, w.beacon.up, w.up);
    layer.down = matrix(which.mlp, w.beacon.down, w.down);
    if (gate) {
      const at::Tensor all_heads = at::full({config.num_attention_heads}, *gate, at::kFloat);
      layer.gate = leaf(w.beacon.gate.defined() ? w.beacon.gate : all_heads);
    }
    out.layers.push_back(std::move(layer));
  }
  return out;
}

void BeaconParameters::add_lora(const ModelWeights& weights, const LoraConfig& lora, uint64_t seed) {
  constexpr uint64_t kStream = 0x4C6F5241;  // "LoRA"
  lora_scale = lora.scale();
  for (size_t l = 0; l < layers.size(); ++l) {
    visit_lora(layers[l], [&](char target, LoraMatrices& matrices) {
      if (!lora.has(target)) return;
      const ops::Weight& base = projection(weights.layers[l], target);
      if (base.low_rank.defined()) {
        BEACON_CHECK(base.low_rank.a.size(0) == lora.rank && base.low_rank.scale == lora.scale());
        matrices = {leaf(base.low_rank.a), leaf(base.low_rank.b)};
        return;
      }
      const Random random(seed, {kStream, l, static_cast<uint64_t>(target)});
      matrices = {leaf(fresh_a(lora.rank, base.in, random)), leaf(at::zeros({base.out, lora.rank}))};
    });
  }
}

BeaconParameters BeaconParameters::without_lora() const {
  BeaconParameters out = *this;
  for (BeaconLayerParameters& layer : out.layers) {
    visit_lora(layer, [](char, LoraMatrices& matrices) { matrices = {}; });
  }
  return out;
}

std::vector<NamedParameter> BeaconParameters::named() const {
  std::vector<NamedParameter> out;
  out.push_back({"model.beacon_embed_tokens.weight", ParameterKind::kEmbedding, embed});
  for (size_t l = 0; l < layers.size(); ++l) {
    const std::string prefix = fmt::format("model.layers.{}.", l);
    visit_matrices(layers[l], [&](const char* name, const BeaconMatrix& m) {
      if (m.weight.defined())
        out.push_back({prefix + name + ".weight", ParameterKind::kProjection, m.weight});
      if (m.bias.defined()) out.push_back({prefix + name + ".bias", ParameterKind::kProjection, m.bias});
    });
    if (layers[l].gate.defined()) {
      out.push_back({prefix + "self_attn.beacon_gate", ParameterKind::kGate, layers[l].gate});
    }
    visit_lora(layers[l], [&](char target, const LoraMatrices& m) {
      if (!m.a.defined()) return;
      const auto layer = static_cast<int64_t>(l);
      out.push_back({LoraTensorName{layer, target, 'A'}.text(), ParameterKind::kLora, m.a});
      out.push_back({LoraTensorName{layer, target, 'B'}.text(), ParameterKind::kLora, m.b});
    });
  }
  return out;
}

void BeaconParameters::move_to(at::Device device) {
  const auto move = [device](at::Tensor& tensor) {
    if (tensor.defined() && tensor.device() != device)
      tensor = tensor.detach().to(device).set_requires_grad(true);
  };
  move(embed);
  for (BeaconLayerParameters& layer : layers) {
    for (BeaconMatrix* m : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.up, &layer.down}) {
      move(m->weight);
      move(m->bias);
    }
    move(layer.gate);
    visit_lora(layer, [&](char, LoraMatrices& m) {
      move(m.a);
      move(m.b);
    });
  }
}

void BeaconParameters::require_gradients(bool wanted) const {
  for (const NamedParameter& parameter : named()) {
    at::Tensor tensor = parameter.tensor;
    tensor.set_requires_grad(wanted);
  }
}

std::vector<std::pair<std::string, at::Tensor>> adapter_tensors(const BeaconParameters& parameters,
                                                                at::ScalarType type) {
  BEACON_CHECK(type == at::kFloat || type == at::kBFloat16);
  std::vector<std::pair<std::string, at::Tensor>> out;
  for (const NamedParameter& parameter : parameters.named()) {
    at::Tensor values = parameter.tensor.detach().cpu();
    if (parameter.kind == ParameterKind::kEmbedding) values = values.unsqueeze(0);
    if (values.dim() == 2) values = values.to(type);
    out.emplace_back(parameter.name, values.contiguous());
  }
  return out;
}

}  // namespace beacon
