#include "train/flops.h"

#include <algorithm>

namespace beacon {

namespace {

ForwardFlops flops_of(const ModelConfig& c, double rows, double pairs) {
  const int64_t heads = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  const auto weights = static_cast<double>(c.num_hidden_layers * c.hidden_size *
                                           (2 * heads + 2 * kv + 3 * c.intermediate_size));
  return {2 * weights * rows, static_cast<double>(4 * c.num_hidden_layers * heads) * pairs};
}

}  // namespace

ForwardFlops forward_flops(const ModelConfig& config, const SequencePlan& plan, int64_t batch) {
  double rows = 0, pairs = 0;
  for (const PlannedStep& planned : plan.steps) {
    const auto count = static_cast<double>(planned.step.num_rows());
    rows += count;
    pairs += count * static_cast<double>(planned.step.memory_rows()) + count * (count + 1) / 2;
  }
  return flops_of(config, rows * static_cast<double>(batch), pairs * static_cast<double>(batch));
}

ForwardFlops full_attention_flops(const ModelConfig& config, int64_t tokens, int64_t batch) {
  const auto n = static_cast<double>(tokens), rows = static_cast<double>(batch);
  return flops_of(config, n * rows, n * (n + 1) / 2 * rows);
}

double training_flops(const ForwardFlops& forward) { return 2 * forward.products + 3.5 * forward.attention; }

double head_flops(const ModelConfig& c, int64_t rows) {
  return 2.0 * static_cast<double>(c.vocab_size) * static_cast<double>(c.hidden_size) *
         static_cast<double>(rows);
}

}  // namespace beacon
