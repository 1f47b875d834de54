#pragma once
// The loss of a sequence: next-token cross-entropy and, with a teacher, the divergence from what it predicts.
// Letters: B batch, n tokens, D hidden size.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <vector>

#include "model/recorded_forward.h"
#include "train/sequence_plan.h"
#include "train/tape.h"

namespace beacon {

// Sums over scored tokens, each times its weight; those of several sequences may be added.
struct LossSums {
  struct Part {
    double cross_entropy = 0.0;  // nats
    double weight = 0.0;         // of the tokens; their number where each weighs 1
  };
  double total = 0.0;          // what is minimised, times `weight`
  double cross_entropy = 0.0;  // nats
  double divergence = 0.0;     // nats, KL(teacher || student)
  double weight = 0.0;
  // By the ratio of the window condensed last before the token was read; -1: no memory yet.
  std::map<int, Part> by_ratio;

  void add(const LossSums& other);
};

struct LossWeights {
  double next_token = 1.0;
  double distillation = 0.0;
};

class SequenceLoss : public TapeLoss {
 public:
  // labels: B vectors of n shifted labels (window/labels.h), the label of a row is what it is to predict.
  // label_weights: the same of their weights; empty: 1 each.
  // teacher [B, up to n, D]: the teacher's normalised hidden states of the first tokens; those behind them
  // have the next-token loss alone. Undefined unless weights.distillation is not 0. network, plan and labels
  // must outlive it.
  SequenceLoss(const RecordedNetwork& network, const SequencePlan& plan,
               const std::vector<std::vector<int32_t>>& labels, std::vector<std::vector<float>> label_weights,
               const at::Tensor& teacher, const LossWeights& weights);

  std::vector<int64_t> rows(size_t step) const override;
  at::Tensor loss(size_t step, const at::Tensor& hidden) override;

  const LossSums& sums() const { return sums_; }

 private:
  at::Tensor part_loss(int ratio, const std::vector<int64_t>& tokens, const at::Tensor& hidden, bool taught);
  void count(int ratio, double cross_entropy, double divergence, double weight);

  const RecordedNetwork& network_;
  const SequencePlan& plan_;
  const std::vector<std::vector<int32_t>>& labels_;
  std::vector<std::vector<float>> label_weights_;
  at::Tensor teacher_;
  LossWeights weights_;
  LossSums sums_;
};

}  // namespace beacon
