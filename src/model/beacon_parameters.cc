#include "model/beacon_parameters.h"

#include <ATen/Functions.h>
#include <fmt/format.h>

#include "base/check.h"

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
  }
  return out;
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
    at::Tensor values = parameter.tensor.detach();
    if (parameter.kind == ParameterKind::kEmbedding) values = values.unsqueeze(0);
    if (values.dim() == 2) values = values.to(type);
    out.emplace_back(parameter.name, values.contiguous());
  }
  return out;
}

}  // namespace beacon
