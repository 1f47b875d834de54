#pragma once
// What the network thought of tokens, without the logits of a whole text.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "model/transformer.h"

namespace beacon {

// out[r] = ln of the probability that hidden row r gives to token targets[r], in nats. hidden [rows, D] f32;
// targets and out hold `rows` elements, targets inside the vocabulary. Logits exist for 128 rows at a time.
void log_probabilities(const Transformer& net, const at::Tensor& hidden, std::span<const int32_t> targets,
                       std::span<float> out, TransformerScratch& scratch);

}  // namespace beacon
