#pragma once
// The network recorded for back-propagation: new rows over given memory rows, with gradients to the beacon
// parameters and to the memory. As Transformer it knows tokens, rows and positions, not windows.
// Letters: B batch, T new rows, M memory rows, S = M + T keys, D hidden, K KV heads, H head_dim.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "io/model_config.h"
#include "model/beacon_parameters.h"
#include "model/recorded_base.h"
#include "ops/autograd/recording.h"
#include "ops/rope.h"

namespace beacon {

// Keys before RoPE and values of some rows of one layer, [B, rows, K * H] in the compute type.
struct RecordedKv {
  at::Tensor k_pre;
  at::Tensor v;
};

// What is run. Spans must outlive the call.
struct RecordedRows {
  std::span<const int32_t> ids;            // [B * T] token ids; the id vocab_size is the beacon
  std::span<const int32_t> positions;      // [T], or [B * T] where they differ between batch rows
  std::span<const int32_t> key_positions;  // [S] of all keys: memory, then new rows; or [B * S]
  std::span<const int64_t> beacon_rows;    // rows of [0, T) that take the beacon projections, ascending
  std::span<const int32_t> copy_from;      // [T] row whose q, k, v a replica repeats, or -1; empty: none
  std::span<const uint8_t> mask;  // [T, S], or [B * T, S], 1 = visible; empty: causal from the bottom right
  std::span<const uint8_t> beacon_keys;  // [S] 1 = the gate applies
  bool echoes = false;                   // as in ForwardRows
  std::span<const int64_t> hidden_rows;  // rows of [0, T) whose hidden states are wanted, ascending
  int64_t longest = 0;                   // positions the sequence has reached, for dynamic NTK
};

struct RecordedOutput {
  std::vector<RecordedKv> layers;  // keys and values of the T new rows
  at::Tensor hidden;               // [B, hidden_rows, D] normalised, compute type; undefined without any
};

// Const after construction; parameters may change between calls. Recording itself follows torch's grad mode.
class RecordedNetwork {
 public:
  RecordedNetwork(const ModelConfig& config, RecordedBase base, BeaconParameters parameters, ops::Rope rope,
                  ops::autograd::RecordingContext context);

  // `memory` has an entry for each layer, with M >= 0 rows. Throws kInvalidArgument for an id outside the
  // vocabulary.
  RecordedOutput forward(const RecordedRows& rows, std::span<const RecordedKv> memory) const;

  const ModelConfig& config() const { return config_; }
  const RecordedBase& base() const { return base_; }
  const BeaconParameters& parameters() const { return parameters_; }
  const ops::autograd::RecordingContext& context() const { return context_; }

 private:
  struct Step;  // what is the same for all layers of one forward
  Step make_step(const RecordedRows& rows, int64_t batch, int64_t keys) const;
  at::Tensor embed(const RecordedRows& rows, const Step& step) const;
  at::Tensor project(const at::Tensor& x, const RecordedMatrix& base, const BeaconMatrix& beacon,
                     const LoraMatrices& lora, const at::Tensor& beacon_rows) const;
  RecordedKv keys_and_values(const Step& step, size_t layer, const at::Tensor& normed) const;
  at::Tensor attention_block(const Step& step, size_t layer, const at::Tensor& normed, const RecordedKv& kv,
                             const RecordedKv& memory) const;
  at::Tensor feed_forward_block(const Step& step, size_t layer, const at::Tensor& x) const;

  ModelConfig config_;
  RecordedBase base_;
  BeaconParameters parameters_;
  ops::Rope rope_;
  ops::autograd::RecordingContext context_;
};

}  // namespace beacon
