#include "train/tape.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/check.h"
#include "ops/device.h"

namespace beacon {
namespace {

// The arrays behind the spans of one step's rows.
struct StepRows {
  std::vector<int32_t> ids, positions, key_positions;
  std::vector<int64_t> beacon_rows;
  std::vector<uint8_t> mask;
};

// Where the rows of a step stand and what they see: appended, so that batch rows follow each other.
void add_places(const Step& step, StepRows& rows) {
  rows.positions.insert(rows.positions.end(), step.positions.begin(), step.positions.end());
  const auto begin = static_cast<int64_t>(rows.key_positions.size());
  rows.key_positions.resize(static_cast<size_t>(begin + step.memory_rows()));
  std::iota(rows.key_positions.begin() + begin, rows.key_positions.end(), 0);
  std::copy(step.cached_positions.begin(), step.cached_positions.end(),
            rows.key_positions.end() - static_cast<int64_t>(step.cached_positions.size()));
  rows.key_positions.insert(rows.key_positions.end(), step.positions.begin(), step.positions.end());
  rows.mask.insert(rows.mask.end(), step.mask.begin(), step.mask.end());
}

StepRows make_rows(const SequencePlan& plan, size_t index, std::span<const int32_t> ids, int64_t batch,
                   int32_t beacon) {
  const PlannedStep& planned = plan.steps[index];
  StepRows rows;
  add_places(planned.step, rows);
  for (const std::vector<Step>& other : plan.others) add_places(other[index], rows);
  for (int64_t b = 0; b < batch; ++b) {
    const Step& step = plan.step(b, index);
    for (size_t r = 0; r < planned.tokens.size(); ++r) {
      int64_t token = planned.tokens[r];
      if (token < 0 && !step.echo_of.empty()) token = step.echo_of[r];
      rows.ids.push_back(token < 0 ? beacon : ids[static_cast<size_t>(b * plan.num_tokens + token)]);
    }
  }
  for (size_t r = 0; r < planned.step.slots.size(); ++r) {
    if (planned.step.slots[r] == SlotKind::kBeacon) rows.beacon_rows.push_back(static_cast<int64_t>(r));
  }
  return rows;
}

// The longest sequence seen up to a step, as dynamic NTK counts it.
int64_t longest_until(const SequencePlan& plan, size_t index) {
  int64_t longest = 0;
  for (size_t i = 0; i <= index; ++i) {
    const Step& step = plan.steps[i].step;
    longest = std::max(longest, step.memory_rows() + step.num_rows());
  }
  return longest;
}

}  // namespace

Tape::Tape(const RecordedNetwork& network, const SequencePlan& plan, std::span<const int32_t> ids,
           const TapeOptions& options)
    : network_(network),
      plan_(plan),
      ids_(ids),
      options_(options),
      batch_(static_cast<int64_t>(ids.size()) / std::max<int64_t>(1, plan.num_tokens)),
      bank_(network.config().num_hidden_layers, batch_, plan.bank_rows,
            network.config().num_key_value_heads * network.config().head_dim,
            at::TensorOptions(network.context().device).dtype(network.context().compute)) {
  BEACON_CHECK(static_cast<int64_t>(ids.size()) == batch_ * plan.num_tokens);
  BEACON_CHECK(plan.others.empty() || std::ssize(plan.others) == batch_ - 1);
}

Tape::Recording Tape::forward(size_t index, std::span<const int64_t> hidden_rows, bool record) {
  const c10::AutoGradMode mode(record);
  const PlannedStep& planned = plan_.steps[index];
  const auto vocabulary = static_cast<int32_t>(network_.config().vocab_size);
  const StepRows rows = make_rows(plan_, index, ids_, batch_, vocabulary);
  RecordedRows in;
  in.ids = rows.ids;
  in.positions = rows.positions;
  in.key_positions = rows.key_positions;
  in.beacon_rows = rows.beacon_rows;
  in.copy_from = planned.step.copy_from;
  in.mask = rows.mask;
  in.beacon_keys = planned.beacon_keys;
  in.echoes = plan_.echoes;
  in.hidden_rows = hidden_rows;
  in.longest = longest_until(plan_, index);
  Recording recording;
  const at::Tensor memory = ops::index_on(network_.context().device, planned.memory);
  for (int64_t l = 0; l < network_.config().num_hidden_layers; ++l) {
    recording.memory.push_back(bank_.gather(l, memory, record));
  }
  recording.out = network_.forward(in, recording.memory);
  return recording;
}

void Tape::put(size_t index, const RecordedOutput& out) {
  const PlannedStep& planned = plan_.steps[index];
  const at::Tensor kept = ops::index_on(network_.context().device, planned.kept);
  for (size_t l = 0; l < out.layers.size(); ++l) {
    bank_.put(static_cast<int64_t>(l), planned.bank_begin, kept, out.layers[l]);
  }
}

void Tape::run(TapeLoss& loss, const std::function<void()>& before_last) {
  std::vector<std::optional<Recording>> recordings(plan_.steps.size());
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    const bool record = !options_.recompute || i + 1 == plan_.steps.size();
    // Without a graph nobody looks at hidden states: the step is run for what it leaves in memory.
    Recording recording = forward(i, record ? loss.rows(i) : std::vector<int64_t>(), record);
    put(i, recording.out);
    if (record) recordings[i] = std::move(recording);
  }
  for (size_t i = plan_.steps.size(); i-- > 0;) {
    if (!recordings[i]) recordings[i] = forward(i, loss.rows(i), true);
    const at::Tensor& hidden = recordings[i]->out.hidden;
    if (i == 0 && before_last) before_last();
    backward(i, *recordings[i], hidden.defined() ? loss.loss(i, hidden) : at::Tensor());
    recordings[i].reset();
  }
}

void Tape::evaluate(TapeLoss& loss) {
  const c10::AutoGradMode mode(false);
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    const Recording recording = forward(i, loss.rows(i), false);
    put(i, recording.out);
    if (recording.out.hidden.defined()) loss.loss(i, recording.out.hidden);
  }
}

void Tape::backward(size_t index, const Recording& recording, const at::Tensor& loss) {
  const PlannedStep& planned = plan_.steps[index];
  std::vector<at::Tensor> roots, gradients;
  const auto add_root = [&](const at::Tensor& root, const at::Tensor& gradient) {
    if (!root.defined() || !root.requires_grad() || !gradient.defined()) return;
    roots.push_back(root);
    gradients.push_back(gradient.to(root.scalar_type()));
  };
  if (loss.defined()) add_root(loss, at::ones({}, loss.scalar_type()));
  const at::Tensor kept = ops::index_on(network_.context().device, planned.kept);
  for (size_t l = 0; l < recording.out.layers.size(); ++l) {
    const RecordedKv later =
        bank_.gradients(static_cast<int64_t>(l), planned.bank_begin, kept, planned.step.num_rows());
    add_root(recording.out.layers[l].k_pre, later.k_pre);
    add_root(recording.out.layers[l].v, later.v);
  }
  if (roots.empty()) return;
  torch::autograd::backward(roots, gradients, /*retain_graph=*/false);
  const GradientRows rows = gradient_rows(index);
  for (size_t l = 0; l < recording.memory.size(); ++l) {
    bank_.add_gradients(static_cast<int64_t>(l), rows, recording.memory[l]);
  }
}

// Rows of steps that truncated back-propagation does not reach get none.
GradientRows Tape::gradient_rows(size_t index) const {
  const at::Device device = network_.context().device;
  const std::vector<int64_t>& memory = plan_.steps[index].memory;
  const auto steps = static_cast<size_t>(options_.truncate_steps);
  if (steps == 0 || steps >= index) return {ops::index_on(device, memory), {}};
  const int64_t oldest = plan_.steps[index - steps].bank_begin;
  std::vector<int64_t> to, from;
  for (size_t i = 0; i < memory.size(); ++i) {
    if (memory[i] < oldest) continue;
    to.push_back(memory[i]);
    from.push_back(static_cast<int64_t>(i));
  }
  return {ops::index_on(device, to), ops::index_on(device, from)};
}

}  // namespace beacon
