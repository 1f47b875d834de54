#include "train/sequence_loss.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "ops/autograd/linear_loss.h"
#include "window/labels.h"

namespace beacon {

void LossSums::add(const LossSums& other) {
  total += other.total;
  cross_entropy += other.cross_entropy;
  divergence += other.divergence;
  tokens += other.tokens;
  for (const auto& [ratio, part] : other.by_ratio) {
    by_ratio[ratio].cross_entropy += part.cross_entropy;
    by_ratio[ratio].tokens += part.tokens;
  }
}

SequenceLoss::SequenceLoss(const RecordedNetwork& network, const SequencePlan& plan,
                           const std::vector<std::vector<int32_t>>& labels, const at::Tensor& teacher,
                           const LossWeights& weights)
    : network_(network), plan_(plan), labels_(labels), teacher_(teacher), weights_(weights) {
  BEACON_CHECK((weights.distillation == 0.0) == !teacher.defined());
}

std::vector<int64_t> SequenceLoss::rows(size_t step) const {
  const std::vector<int64_t>& tokens = plan_.steps[step].tokens;
  std::vector<int64_t> out;
  for (size_t r = 0; r < tokens.size(); ++r) {
    const auto token = static_cast<size_t>(tokens[r]);
    const bool scored = tokens[r] >= 0 && std::any_of(labels_.begin(), labels_.end(), [token](const auto& l) {
                          return l[token] != kIgnoredLabel;
                        });
    if (scored) out.push_back(static_cast<int64_t>(r));
  }
  return out;
}

at::Tensor SequenceLoss::loss(size_t step, const at::Tensor& hidden) {
  const PlannedStep& planned = plan_.steps[step];
  std::vector<int64_t> tokens;
  for (const int64_t row : rows(step)) tokens.push_back(planned.tokens[static_cast<size_t>(row)]);
  const int64_t known = teacher_.defined() ? teacher_.size(1) : 0;
  const auto split = std::lower_bound(tokens.begin(), tokens.end(), known) - tokens.begin();
  // Beyond the teacher's window there is nothing to distil.
  at::Tensor total;
  for (const auto& [begin, end] : {std::pair<int64_t, int64_t>(0, split), {split, std::ssize(tokens)}}) {
    if (begin == end) continue;
    const std::vector<int64_t> part(tokens.begin() + begin, tokens.begin() + end);
    const at::Tensor sum = part_loss(planned.ratio, part, hidden.narrow(1, begin, end - begin), end <= split);
    total = total.defined() ? total + sum : sum;
  }
  return total;
}

at::Tensor SequenceLoss::part_loss(int ratio, const std::vector<int64_t>& tokens, const at::Tensor& hidden,
                                   bool taught) {
  std::vector<int32_t> labels;
  for (const std::vector<int32_t>& sequence : labels_) {
    for (const int64_t token : tokens) labels.push_back(sequence[static_cast<size_t>(token)]);
  }
  ops::autograd::LinearLossOptions options;
  options.cross_entropy_weight = weights_.next_token;
  if (taught) {
    options.divergence_weight = weights_.distillation;
    options.teacher_hidden = teacher_.index_select(1, at::tensor(tokens, at::kLong)).flatten(0, 1);
  }
  const ops::autograd::LinearLoss loss =
      ops::autograd::linear_loss(hidden.flatten(0, 1), network_.base().lm_head, at::tensor(labels, at::kInt),
                                 options, network_.context());
  const double divergence = loss.divergence.defined() ? loss.divergence.sum(at::kDouble).item<double>() : 0.0;
  count(ratio, loss.cross_entropy.sum(at::kDouble).item<double>(), divergence, loss.scored);
  return loss.total;
}

void SequenceLoss::count(int ratio, double cross_entropy, double divergence, int64_t tokens) {
  sums_.total += weights_.next_token * cross_entropy + weights_.distillation * divergence;
  sums_.cross_entropy += cross_entropy;
  sums_.divergence += divergence;
  sums_.tokens += tokens;
  LossSums::Part& part = sums_.by_ratio[ratio];
  part.cross_entropy += cross_entropy;
  part.tokens += tokens;
}

}  // namespace beacon
