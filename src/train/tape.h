#pragma once
// Forward and backward of a whole sequence, one step of its plan at a time. No graph ever spans two steps:
// what one step leaves in memory are leaves to the next, and the gradients that reach them wait in the row
// bank until the step that made them is differentiated. So the result is that of one graph over the whole
// sequence, at the memory of one step (with recomputation).
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/recorded_forward.h"
#include "train/row_bank.h"
#include "train/sequence_plan.h"

namespace beacon {

struct TapeOptions {
  // Keep no graph on the way forward and run each step once more on the way back: a third more work for the
  // memory of one step. The same bits either way.
  bool recompute = false;
  // A step passes gradients to rows born at most this many steps before it; older memory counts as constant.
  // 0: to all.
  int64_t truncate_steps = 0;
};

// What becomes of a step's hidden states. loss() is called at most once a step: from the last
// step to the first by run(), the other way round by evaluate().
class TapeLoss {
 public:
  virtual ~TapeLoss() = default;
  // Rows of [0, T) of the step whose hidden states loss() wants, ascending; may be empty.
  virtual std::vector<int64_t> rows(size_t step) const = 0;
  // hidden [B, rows, D] -> 0-dim, to be differentiated; undefined or without gradient: nothing is.
  virtual at::Tensor loss(size_t step, const at::Tensor& hidden) = 0;
};

// One sequence (or B of them, of one plan) on its way through a network. All must outlive it.
class Tape {
 public:
  // ids [B * num_tokens], batch rows one after the other.
  Tape(const RecordedNetwork& network, const SequencePlan& plan, std::span<const int32_t> ids,
       const TapeOptions& options);

  // Adds the gradients of the sum of the losses to those of the network's parameters. `before_last` is called
  // when each of these is to be added to at most once more; empty: it is not.
  void run(TapeLoss& loss, const std::function<void()>& before_last = {});
  // The losses alone.
  void evaluate(TapeLoss& loss);

 private:
  struct Recording {
    RecordedOutput out;
    std::vector<RecordedKv> memory;  // leaves
  };
  Recording forward(size_t index, std::span<const int64_t> hidden_rows, bool record);
  void put(size_t index, const RecordedOutput& out);
  void backward(size_t index, const Recording& recording, const at::Tensor& loss);
  GradientRows gradient_rows(size_t index) const;

  const RecordedNetwork& network_;
  const SequencePlan& plan_;
  std::span<const int32_t> ids_;
  TapeOptions options_;
  int64_t batch_;
  RowBank bank_;
};

}  // namespace beacon
