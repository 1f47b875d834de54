#pragma once
// A tiny random model, and the network written out in plain torch and double: one sequence, all rows at once,
// no memory.
#include <optional>
#include <vector>

#include "model/transformer.h"
#include "ops/tensor_check.h"
#include "ops/weight_maker.h"

namespace beacon::testing {

// 3 layers, 4 query heads on 2 KV heads of 8, hidden 32, vocabulary 20. Every beacon projection, biases on q,
// k, v of the base and of some beacon projections, no gate.
ModelConfig tiny_config();
ModelWeights tiny_weights(const ModelConfig& config);
Transformer make_transformer(const ModelConfig& config, const ModelWeights& weights);
KvMemory empty_memory(const ModelConfig& config, int64_t batch = 1);

// What a forward says of its rows, of the whole sequence.
struct TwinRows {
  std::vector<int32_t> ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> beacon_rows;
  std::vector<int32_t> copy_from;    // empty: no replicas
  at::Tensor mask;                   // bool [T, T]; undefined: causal
  std::vector<uint8_t> beacon_keys;  // empty: no gate
  bool echoes = false;
};

struct TwinResult {
  at::Tensor hidden;             // f64 [T, D], normalised
  std::vector<at::Tensor> k, v;  // a layer: f64 [K, T, H], k after rotation
};

TwinResult run_twin(const ModelConfig& config, const ModelWeights& weights, const TwinRows& rows);

}  // namespace beacon::testing
