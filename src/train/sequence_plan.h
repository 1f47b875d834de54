#pragma once
// The steps of one training sequence as integers: which rows each sees and which of its own are kept for
// later steps. Rows that outlive their step get a place in a row bank (row_bank.h).
#include <cstdint>
#include <span>
#include <vector>

#include "window/options.h"
#include "window/step.h"

namespace beacon {

struct PlannedStep {
  Step step;
  std::vector<int64_t> memory;       // [M] bank rows it sees, in order [sink | beacons | open window]
  std::vector<int64_t> kept;         // rows of [0, T) put into the bank, ascending
  int64_t bank_begin = 0;            // row kept[i] becomes bank row bank_begin + i
  std::vector<uint8_t> beacon_keys;  // [M + T] 1 = a beacon's key, which the gate applies to
  std::vector<int64_t> tokens;       // [T] token of a raw row, -1 for others
  int ratio = -1;                    // of the window condensed last before this step; -1: none yet
};

struct SequencePlan {
  int64_t num_tokens = 0;
  bool echoes = false;  // as in ForwardRows
  int64_t bank_rows = 0;
  std::vector<PlannedStep> steps;
  // Of batch rows 1, 2, ... where each has a plan of its own (chosen echoes): the same steps, rows and
  // memory, but other tokens that echoes follow, with their positions and masks. Empty: all are as the first.
  std::vector<std::vector<Step>> others;

  const Step& step(int64_t batch_row, size_t index) const {
    return batch_row == 0 || others.empty() ? steps[index].step
                                            : others[static_cast<size_t>(batch_row - 1)][index];
  }
};

// Plans a whole sequence (options.training must be set). worth [B * num_tokens] is for chosen echoes, of
// B batch rows. Throws kInvalidArgument for contradicting options.
SequencePlan plan_sequence(const WindowOptions& options, int64_t num_tokens,
                           std::span<const float> worth = {});

}  // namespace beacon
