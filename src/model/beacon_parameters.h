#pragma once
// What training changes: the beacon tensors, and LoRA on the base's projections, as f32 masters with
// gradients. Letters: D hidden, N query heads, F ffn, I in, O out, r rank.
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

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

// What is trained of a projection of the base: scale * B A on top of it. Undefined: nothing.
struct LoraMatrices {
  at::Tensor a;  // f32 [r, I], a leaf
  at::Tensor b;  // f32 [O, r], a leaf
};

struct BeaconLayerParameters {
  BeaconMatrix q, k, v, o;
  BeaconMatrix up, down;  // first and second generation only
  at::Tensor gate;        // f32 [N], a leaf; undefined: none
  LoraMatrices lora_q, lora_k, lora_v, lora_o;
};

// What a parameter is, for learning rates of their own.
enum class ParameterKind : uint8_t { kProjection, kEmbedding, kGate, kLora };

struct NamedParameter {
  std::string
      name;  // as in an adapter: "model.layers.0.self_attn.beacon_q_proj.weight", LoRA as io/lora.h says
  ParameterKind kind = ParameterKind::kProjection;
  at::Tensor tensor;  // shares memory and gradient with the parameters it was taken from
};

// The trained tensors of one model. Handles: a copy shares the tensors. Not for use by two threads at once.
struct BeaconParameters {
  at::Tensor embed;  // f32 [D], a leaf
  std::vector<BeaconLayerParameters> layers;
  double lora_scale = 1.0;

  // Copies of the beacon tensors of `weights`; where one is missing, of the dequantised base, as the original
  // does. `which` lists the projections that get one. `gate`: unset, no layer has one, whatever the weights
  // hold; else its value where the weights hold none.
  static BeaconParameters from(const ModelConfig& config, const ModelWeights& weights,
                               const BeaconParams& which, std::optional<float> gate);

  // Puts LoRA on the projections that `lora` lists. Where the weights hold it, with the same rank and scale,
  // it is theirs; else A is uniform within 1 / sqrt(I) and B zero, as PEFT begins. The numbers of a matrix
  // follow from seed, layer and target alone.
  void add_lora(const ModelWeights& weights, const LoraConfig& lora, uint64_t seed);

  // The same tensors without LoRA.
  BeaconParameters without_lora() const;

  // In a fixed order: the embedding, then layer by layer q, k, v, o, up, down, gate, LoRA of q, k, v, o.
  std::vector<NamedParameter> named() const;

  // Moves those that are elsewhere to a device, as new leaves; copies made before keep the old ones.
  void move_to(at::Device device);

  // Sets or clears the wish for gradients of all of them.
  void require_gradients(bool wanted) const;
};

// The tensors of an adapter file: matrices, LoRA among them, and the embedding [1, D] in `type` (kFloat or
// kBFloat16), biases and gates, which are small and sensitive, in f32; in host memory.
std::vector<std::pair<std::string, at::Tensor>> adapter_tensors(const BeaconParameters& parameters,
                                                                at::ScalarType type);

}  // namespace beacon
