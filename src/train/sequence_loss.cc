#include "train/sequence_loss.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "ops/autograd/linear_loss.h"
#include "ops/device.h"
#include "window/labels.h"

namespace beacon {
namespace {

// Rows whose logits a GPU holds at once: enough to fill it, 0.8 GB in f32 for a vocabulary of 49,152.
constexpr int64_t kRowsOnDevice = 4096;

}  // namespace

void LossSums::add(const LossSums& other) {
  total += other.total;
  cross_entropy += other.cross_entropy;
  divergence += other.divergence;
  weight += other.weight;
  for (const auto& [ratio, part] : other.by_ratio) {
    by_ratio[ratio].cross_entropy += part.cross_entropy;
    by_ratio[ratio].weight += part.weight;
  }
}

SequenceLoss::SequenceLoss(const RecordedNetwork& network, const SequencePlan& plan,
                           const std::vector<std::vector<int32_t>>& labels,
                           std::vector<std::vector<float>> label_weights, const at::Tensor& teacher,
                           const LossWeights& weights)
    : network_(network),
      plan_(plan),
      labels_(labels),
      label_weights_(std::move(label_weights)),
      teacher_(teacher),
      weights_(weights) {
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
    options.teacher_hidden = teacher_.index_select(1, ops::index_on(teacher_.device(), tokens)).flatten(0, 1);
  }
  std::vector<float> label_weights;
  for (const std::vector<float>& sequence : label_weights_) {
    for (const int64_t token : tokens) label_weights.push_back(sequence[static_cast<size_t>(token)]);
  }
  if (!label_weights.empty()) options.row_weights = at::tensor(label_weights, at::kFloat).to(hidden.device());
  if (!hidden.is_cpu()) options.chunk_rows = kRowsOnDevice;
  const at::Tensor row_labels = at::tensor(labels, at::kInt);
  const ops::autograd::LinearLoss loss = ops::autograd::linear_loss(
      hidden.flatten(0, 1), network_.base().lm_head, row_labels, options, network_.context());
  const auto weighted_sum = [&](const at::Tensor& rows) {
    if (!rows.defined()) return 0.0;
    return (options.row_weights.defined() ? rows * options.row_weights : rows)
        .sum(at::kDouble)
        .item<double>();
  };
  count(ratio, weighted_sum(loss.cross_entropy), weighted_sum(loss.divergence),
        weighted_sum(row_labels.ne(kIgnoredLabel).to(at::kFloat).to(hidden.device())));
  return loss.total;
}

void SequenceLoss::count(int ratio, double cross_entropy, double divergence, double weight) {
  sums_.total += weights_.next_token * cross_entropy + weights_.distillation * divergence;
  sums_.cross_entropy += cross_entropy;
  sums_.divergence += divergence;
  sums_.weight += weight;
  LossSums::Part& part = sums_.by_ratio[ratio];
  part.cross_entropy += cross_entropy;
  part.weight += weight;
}

}  // namespace beacon
