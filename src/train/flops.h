#pragma once
// Floating-point operations by the shapes of a model and a plan: what a measured time is to be compared with.
#include <cstdint>

#include "io/model_config.h"
#include "train/sequence_plan.h"

namespace beacon {

struct ForwardFlops {
  double products = 0;   // dense layers: 2 for each weight and row
  double attention = 0;  // 4 L N H for each row and each key it may see
};

// One pass over the layers of all steps, beacons included, for `batch` rows. Masks count as causal; LoRA is
// small and left out.
ForwardFlops forward_flops(const ModelConfig& config, const SequencePlan& plan, int64_t batch);

// One pass over `tokens` tokens that all see each other, causally.
ForwardFlops full_attention_flops(const ModelConfig& config, int64_t tokens, int64_t batch);

// Forward and backward: products twice (the weights are frozen, so there is one product back), attention
// three and a half times (five products back for two forward).
double training_flops(const ForwardFlops& forward);

// Logits of `rows` rows; forward and backward are two of these.
double head_flops(const ModelConfig& config, int64_t rows);

}  // namespace beacon
