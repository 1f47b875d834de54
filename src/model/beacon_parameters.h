#pragma once
// What training changes: the beacon tensors as f32 masters with gradients.
// Letters: D hidden, N query heads, F ffn.
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/beacon_config.h"
#include "io/model_config.h"
#include "model/weights.h"

namespace beacon {

// A projection of its own for beacon rows. Undefined weight: the base's own serves them.
struct BeaconMatrix {
  at::Tensor weight;  // f32 [O, I], a leaf
  at::Tensor bias;    // f32 [O], a leaf; undefined: none
};

struct BeaconLayerParameters {
  BeaconMatrix q, k, v, o;
  BeaconMatrix up, down;  // first and second generation only
  at::Tensor gate;        // f32 [N], a leaf; undefined: none
};

// What a parameter is, for learning rates of their own.
enum class ParameterKind : uint8_t { kProjection, kEmbedding, kGate };

struct NamedParameter {
  std::string name;  // as in an adapter: "model.layers.0.self_attn.beacon_q_proj.weight"
  ParameterKind kind = ParameterKind::kProjection;
  at::Tensor tensor;  // shares memory and gradient with the parameters it was taken from
};

// The trained tensors of one model. Handles: a copy shares the tensors. Not for use by two threads at once.
struct BeaconParameters {
  at::Tensor embed;  // f32 [D], a leaf
  std::vector<BeaconLayerParameters> layers;

  // Copies of the beacon tensors of `weights`; where one is missing, of the dequantised base, as the original
  // does. `which` lists the projections that get one. `gate`: unset, no layer has one, whatever the weights
  // hold; else its value where the weights hold none.
  static BeaconParameters from(const ModelConfig& config, const ModelWeights& weights,
                               const BeaconParams& which, std::optional<float> gate);

  // In a fixed order: the embedding, then layer by layer q, k, v, o, up, down, gate.
  std::vector<NamedParameter> named() const;

  // Sets or clears the wish for gradients of all of them.
  void require_gradients(bool wanted) const;
};

// The tensors of an adapter file: matrices and the embedding [1, D] in `type` (kFloat or kBFloat16), biases
// and gates, which are small and sensitive, in f32.
std::vector<std::pair<std::string, at::Tensor>> adapter_tensors(const BeaconParameters& parameters,
                                                                at::ScalarType type);

}  // namespace beacon
