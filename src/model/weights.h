#pragma once
// The tensors of a base model and of its beacons, checked and bound by name.
// Letters: D hidden, F ffn, V vocab, N query heads, K KV heads, H head_dim.
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/adapter.h"
#include "io/checkpoint.h"
#include "ops/linear.h"

namespace beacon {

// What replaces a projection on beacon rows. Undefined: the base's own projection is used, which is also what
// a missing tensor of a listed projection means (the original initialises it as a copy of the base).
struct BeaconProjections {
  ops::Weight q, k, v, o;  // as LayerWeights
  ops::Weight up, down;    // first and second generation only
  at::Tensor gate;         // f32 [N], bias on the scores of beacon keys; undefined: none
};

struct LayerWeights {
  at::Tensor input_norm;  // f32 [D]
  at::Tensor post_norm;   // f32 [D]
  ops::Weight q;          // [N * H, D]
  ops::Weight k, v;       // [K * H, D]
  ops::Weight o;          // [D, N * H]
  ops::Weight gate, up;   // [F, D]
  ops::Weight down;       // [D, F]
  BeaconProjections beacon;
};

struct ModelWeights {
  ops::Weight embed;        // [V, D]
  at::Tensor beacon_embed;  // f32 [D]
  at::Tensor echo_embed;    // f32 [D] what is added to an echo's embedding: the same; zero untrained
  at::Tensor token_worth;   // f32 [V] in host memory, for chosen echoes; undefined: the adapter has none
  std::vector<LayerWeights> layers;
  at::Tensor norm;      // f32 [D]
  ops::Weight lm_head;  // [V, D]; the embedding itself when tied

  int64_t num_parameters = 0;  // of the base
  int64_t bytes = 0;           // of base and beacons, tied tensors once
  bool trained_beacons = false;
  bool quiet_gate = false;  // the gate is there because nobody trained the beacons; echoes do without it
};

// Binds the tensors of a checkpoint. Beacon tensors come from the adapter when there is one, else from the
// checkpoint; missing ones stay undefined, a missing beacon embedding is the base's eos (or bos) row, as
// config.embed_init says. `gate`, when set, is put on every head of layers that have none. Views keep the
// checkpoint and the adapter alive. LoRA tensors of the adapter become low-rank parts of the base's q, k, v
// and o, which stay as they are in the file. Throws kNotFound or kMismatch naming the tensor.
ModelWeights load_weights(const std::shared_ptr<const Checkpoint>& checkpoint,
                          const std::shared_ptr<const Adapter>& adapter, const BeaconConfig& config,
                          std::optional<float> gate);

// Puts all weights on a device that is not the processor, matrices in `compute` or, where the device has
// kernels for them, quantised as they are (ops::Weight).
void move_to(ModelWeights& weights, at::Device device, at::ScalarType compute);

}  // namespace beacon
