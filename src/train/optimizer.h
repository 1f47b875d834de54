#pragma once
// AdamW (Loshchilov and Hutter 2019) on f32 masters, with learning rates of their own for some kinds.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/beacon_parameters.h"

namespace beacon {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.0;          // decoupled; on matrices only
  double gate_multiplier = 1.0;       // learning rate of gates as a multiple
  double embedding_multiplier = 1.0;  // of the beacon embedding
  double lora_multiplier = 1.0;       // and of LoRA
};

// Belongs to one thread. Deterministic: the same gradients give the same bits.
class AdamW {
 public:
  AdamW(std::vector<NamedParameter> parameters, const AdamWOptions& options);

  // Multiplies all gradients by `scale` and returns their norm afterwards, over all parameters, in f64.
  // Parameters without a gradient count as zero.
  double scale_gradients(double scale);

  // One update with the gradients as they are; missing ones are zero.
  void step(double learning_rate);

  // Forgets the gradients.
  void clear_gradients();

  const std::vector<NamedParameter>& parameters() const { return parameters_; }
  int64_t updates() const { return updates_; }

  // The moments in the order of parameters(), and the number of updates; for checkpoints. restore() copies.
  const std::vector<at::Tensor>& first_moments() const { return first_; }
  const std::vector<at::Tensor>& second_moments() const { return second_; }
  void restore(const std::vector<at::Tensor>& first, const std::vector<at::Tensor>& second, int64_t updates);

 private:
  double multiplier(ParameterKind kind) const;

  std::vector<NamedParameter> parameters_;
  AdamWOptions options_;
  std::vector<at::Tensor> first_, second_;  // as the parameter
  int64_t updates_ = 0;
};

}  // namespace beacon
