#pragma once
// Draws the ratio of each window (study 1.4) with a small generator of our own, whose state is saved with a
// memory.
#include <cstdint>
#include <vector>

#include "window/options.h"
#include "window/state.h"

namespace beacon {

// SplitMix64: state advances by the golden-ratio constant, the output is a mix of it. `bound` > 0; every
// value of [0, bound) is equally likely (rejection, no modulo bias).
uint64_t next_uniform(uint64_t& state, uint64_t bound);

// The ratios a draw may choose from: a list of one as it is; else those that are 0 or divide the stride.
// `zero_allowed` false also drops 0 (training).
std::vector<int> ratio_choices(const RatioPolicy& policy, int64_t stride, bool zero_allowed);

// Draws the next ratio. window_end: one past the last token of the window it is for (training allows ratio 0
// once, and only if another full window follows). Changes the generator fields of the state.
int draw_ratio(const WindowOptions& options, PlannerState& state, int64_t window_end);

}  // namespace beacon
