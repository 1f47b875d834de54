#include "model/recorded_base.h"

#include <fmt/format.h>

#include "base/check.h"

namespace beacon {
namespace {

at::Tensor to(const at::Tensor& tensor, at::Device device) {
  return tensor.defined() ? tensor.to(device) : tensor;
}

RecordedMatrix expanded(const ops::Weight& weight, at::ScalarType compute, at::Device device) {
  ops::Weight alone = weight;
  alone.low_rank = {};  // trained, see BeaconParameters
  return {to(ops::expand(alone, compute), device), to(weight.bias, device)};
}

}  // namespace

RecordedBase frozen_base(const ModelWeights& weights, at::ScalarType compute, at::Device device) {
  RecordedBase base;
  base.embed = weights.embed;
  const auto matrix = [&](const ops::Weight& weight) { return expanded(weight, compute, device); };
  for (const LayerWeights& w : weights.layers) {
    base.layers.push_back({to(w.input_norm, device), to(w.post_norm, device), matrix(w.q), matrix(w.k),
                           matrix(w.v), matrix(w.o), matrix(w.gate), matrix(w.up), matrix(w.down)});
  }
  base.norm = to(weights.norm, device);
  base.lm_head = to(ops::expand(weights.lm_head, compute), device);
  if (!device.is_cpu()) {
    const bool tied = weights.lm_head.data == weights.embed.data;
    base.embed_matrix = tied ? base.lm_head : to(ops::expand(weights.embed, compute), device);
  }
  return base;
}

RecordedBase trainable_base(const ModelWeights& weights,
                            std::vector<std::pair<std::string, at::Tensor>>& named) {
  RecordedBase base = frozen_base(weights, at::kFloat);
  const auto add = [&named](const std::string& name, at::Tensor& tensor) {
    if (!tensor.defined()) return;
    tensor = tensor.clone().set_requires_grad(true);
    named.emplace_back(name, tensor);
  };
  base.embed_matrix = ops::expand(weights.embed, at::kFloat);
  add("model.embed_tokens.weight", base.embed_matrix);
  for (size_t l = 0; l < base.layers.size(); ++l) {
    const std::string prefix = fmt::format("model.layers.{}.", l);
    RecordedLayer& layer = base.layers[l];
    add(prefix + "input_layernorm.weight", layer.input_norm);
    add(prefix + "post_attention_layernorm.weight", layer.post_norm);
    const std::pair<const char*, RecordedMatrix*> matrices[] = {
        {"self_attn.q_proj", &layer.q}, {"self_attn.k_proj", &layer.k}, {"self_attn.v_proj", &layer.v},
        {"self_attn.o_proj", &layer.o}, {"mlp.gate_proj", &layer.gate}, {"mlp.up_proj", &layer.up},
        {"mlp.down_proj", &layer.down}};
    for (const auto& [name, matrix] : matrices) {
      add(prefix + name + ".weight", matrix->weight);
      add(prefix + name + ".bias", matrix->bias);
    }
  }
  add("model.norm.weight", base.norm);
  if (weights.lm_head.data == weights.embed.data) {
    base.lm_head = base.embed_matrix;  // tied: one tensor, one gradient
  } else {
    add("lm_head.weight", base.lm_head);
  }
  return base;
}

}  // namespace beacon
