#pragma once
// The network: rows of tokens in, hidden states out, keys and values into memory. It knows tokens, rows,
// positions and visibility, not windows. Letters: B batch, T new rows, S keys (memory + new), D hidden, F
// ffn, N query heads, K KV heads, H head_dim, V vocab.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "io/model_config.h"
#include "memory/kv_memory.h"
#include "model/weights.h"
#include "ops/attention.h"
#include "ops/linear.h"
#include "ops/rope.h"

namespace beacon {

// One forward. Spans must outlive the call.
struct ForwardRows {
  std::span<const int32_t> ids;          // [B * T] token ids; the id vocab_size is the beacon
  std::span<const int32_t> positions;    // [T]
  std::span<const int32_t> beacon_rows;  // rows of [0, T) that take the beacon projections
  // [open rows] positions of the open window's keys where they are not their index; empty: they are. Matters
  // only when keys are rotated on reading.
  std::span<const int32_t> open_positions;
  std::span<const int32_t>
      copy_from;  // [T] row whose q, k, v a replica repeats, -1 for others; empty: no replicas
  std::span<const uint8_t> mask;  // [T, S], 1 = visible; empty: causal from the bottom right
  std::span<const uint8_t>
      beacon_keys;          // [S], 1 = a beacon's key (memory or new), for the gate; empty: no beacons
  bool echoes = false;      // beacons' ids are those of the tokens they repeat
  int64_t hidden_rows = 0;  // how many of the last rows the caller wants hidden states of, 0..T
};

// The rows of one of several sequences that go forward together, each over its own memory.
struct SequenceRows {
  ForwardRows rows;
  KvMemory* memory = nullptr;
};

// Buffers of one worker; grow to the largest step and stay. Rows R = B * T, of all sequences together; the
// residual is f32, the others of the type of activations.
struct TransformerScratch {
  ops::Scratch residual;  // [R, D]
  ops::Scratch normed;    // [R, D]
  ops::Scratch q;         // [R, N * H]
  ops::Scratch turned;    // [R, N * H] after RoPE, where that changes the type
  ops::Scratch k, v;      // [R, K * H]
  ops::Scratch attended;  // [R, N * H]
  ops::Scratch gate, up;  // [R, F]
  ops::Scratch branch;    // [R, D] what a block adds to the residual
  ops::Scratch gathered, projected;
  ops::LinearContext linear;
  ops::AttentionContext attention;
};

// Const after construction and shared by threads; memory and scratch belong to the caller. It runs where its
// weights are, and so must the memories be; results are there too.
class Transformer {
 public:
  Transformer(const ModelConfig& config, ModelWeights weights, ops::Rope rope);

  // Runs T new rows over what the memory holds and leaves their keys and values in it (reserved, written,
  // finished; a close is the caller's). Returns the normalised hidden states of the last rows.hidden_rows
  // rows, [B, that, D] f32.
  at::Tensor forward(const ForwardRows& rows, KvMemory& memory, TransformerScratch& scratch) const;

  // forward() of each sequence, with the weights read once for all of them: a result for each, in order,
  // equal to its own within rounding. The memories must be distinct and of one type.
  std::vector<at::Tensor> forward(std::span<const SequenceRows> sequences, TransformerScratch& scratch) const;

  // hidden [R, D] f32, from anywhere -> logits [R, V] f32.
  at::Tensor logits(const at::Tensor& hidden, TransformerScratch& scratch) const;

  const ModelConfig& config() const { return config_; }
  const ModelWeights& weights() const { return weights_; }
  const ops::Rope& rope() const { return rope_; }

 private:
  struct Part;  // what is the same for all layers of one forward: of a sequence
  struct Step;  // and of all of them
  Part all_rows(const SequenceRows& sequence, const ops::LinearContext& context) const;
  Step all_rows(std::span<const SequenceRows> sequences, const ops::LinearContext& context) const;
  Step last_rows(const Step& all, std::span<const SequenceRows> sequences,
                 const ops::LinearContext& context) const;
  static at::Tensor rows_of(const at::Tensor& matrix, const Step& all, const Step& wanted);
  static void repeat_rows(const Step& step, const at::Tensor& matrix);
  void embed(std::span<const SequenceRows> sequences, const Step& all, const at::Tensor& x) const;

  // y = x W^T, with the beacon's matrix (undefined: none) on beacon rows; several of the same x at once.
  struct Projection {
    const ops::Weight& base;
    const ops::Weight& beacon;
    at::Tensor y;
  };
  void project(const Step& step, const at::Tensor& x, std::initializer_list<Projection> projections,
               TransformerScratch& scratch) const;
  at::Tensor visible_keys(const Part& part, int64_t layer) const;
  // The projected rows of one layer: k and v of all of them, q of those that are wanted. In scratch.
  struct NewRows {
    at::Tensor q, k, v;
  };
  // Of one sequence: turns the queries, from q to `turned`, that are to see its memory.
  ops::AttentionCall attention_call(const Part& all, const Part& wanted, size_t layer, const at::Tensor& q,
                                    const at::Tensor& turned, const at::Tensor& out) const;
  // Writes keys and values, then the wanted queries of each sequence over its memory, in scratch.
  at::Tensor attend(const Step& all, const Step& wanted, size_t layer, const NewRows& rows,
                    TransformerScratch& scratch) const;
  // Both return what is to be added to the residual, in scratch. Keys and values of `all` rows are written,
  // the result is that of the `wanted` ones.
  at::Tensor attention_block(const Step& all, const Step& wanted, size_t layer, const at::Tensor& normed,
                             TransformerScratch& scratch) const;
  at::Tensor feed_forward_block(const Step& step, size_t layer, const at::Tensor& normed,
                                TransformerScratch& scratch) const;

  ModelConfig config_;
  ModelWeights weights_;
  ops::Rope rope_;
  at::Device device_;  // where the weights are
};

}  // namespace beacon
