#pragma once
// The slow twin of the tape: one autograd graph over the whole sequence, in double and plain torch. It keeps
// memory as tensors that are cut and joined as each close says, and knows nothing of banks and leaves.
#include <map>
#include <string>
#include <vector>

#include "model/beacon_parameters.h"
#include "model/slow_twin.h"
#include "window/options.h"

namespace beacon::testing {

struct WholeGraphResult {
  double loss = 0.0;                            // sum of cross-entropies over scored tokens of all batch rows
  std::map<std::string, at::Tensor> gradients;  // f64, by parameter name
};

// What tokens are worth in these tests.
std::vector<float> worth_of(const std::vector<int32_t>& ids);

// ids [B * n]. Steps see memory rows born more than `truncate_steps` steps before them as constants (0: none
// are).
WholeGraphResult run_whole_graph(const ModelConfig& config, const ModelWeights& weights,
                                 const BeaconParameters& parameters, const WindowOptions& options,
                                 const std::vector<int32_t>& ids, int64_t batch, int64_t truncate_steps = 0);

}  // namespace beacon::testing
