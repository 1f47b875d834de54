#pragma once
// Cuts a growing sequence into steps. The plan does not depend on how the tokens arrive: the same slots,
// positions, spans, memory layout and visibility whether they are fed at once or one by one (adapt-N, which
// looks at the first feed unless expected_tokens is given, chooses its ratio by it). See docs/algorithm.md.
//
//   Planner planner(options);
//   planner.feed(num_tokens);
//   while (auto step = planner.next()) { /* forward rows of *step, then apply step->close to the memory */ }
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "window/options.h"
#include "window/state.h"
#include "window/step.h"

namespace beacon {

struct Layout;  // a step while it is being planned

// How much each token deserves an echo of its own, from token `first` on. Tokens it does not cover are worth
// nothing; of equal worth the earlier one is chosen.
struct TokenWorth {
  int64_t first = 0;
  std::span<const float> values;

  float of(int64_t token) const;
};

// What reading some more tokens would come to.
struct Forecast {
  int64_t positions = 0;  // one more than the highest RoPE position of any row of any step so far seen
  int64_t peak_rows = 0;  // most rows seen by one step: memory + new
  int64_t sink_rows = 0;  // memory afterwards
  int64_t beacon_rows = 0;
  int64_t open_rows = 0;
  int64_t steps = 0;
};

// A value: copying it is a mark to rewind to. Not for use by two threads at once.
class Planner {
 public:
  // Throws Error(kInvalidArgument) when validate() does.
  explicit Planner(WindowOptions options);
  // Goes on from a saved state. Throws Error(kMismatch) when the state cannot belong to the options.
  Planner(WindowOptions options, PlannerState state);

  // Appends tokens. Training takes one feed. Throws kInvalidArgument for a negative number or a second
  // training feed, kCapacity beyond kMaxSequence.
  void feed(int64_t num_tokens);

  // The next step over fed tokens, or nothing when all are consumed. The planner counts it as done: to undo,
  // keep a copy. A step never holds more than one close (parallel windows close together at its end).
  // `worth` decides where chosen echoes stand and has no meaning for others.
  std::optional<Step> next(const TokenWorth& worth = {});

  // First token of the stride that is not complete yet: where chosen echoes of later steps may stand.
  int64_t stride_begin() const;

  // Consumes `more_tokens` tokens without giving their steps.
  void advance(int64_t more_tokens);

  // Forgets tokens fed but not yet consumed (a cancelled feed).
  void discard_pending();

  // Positions of the rows of the open window where they are not their index in memory; else empty.
  std::vector<int32_t> open_positions() const;

  // From here on nothing closes and no beacon is inserted: the tokens to come stay raw. Cannot be undone.
  void freeze();

  // Mix::kForced with these ratios, one a window; only before the first ratio is drawn.
  void force_ratios(std::vector<int> ratios);

  // What feeding `more_tokens` would come to (0: only what is pending), without changing the planner. Exact,
  // ratio draws included. Costs O(more_tokens) time; no masks are built.
  Forecast forecast(int64_t more_tokens) const;

  const WindowOptions& options() const { return options_; }
  const PlannerState& state() const { return state_; }
  int64_t tokens_planned() const { return state_.planned; }
  int64_t tokens_pending() const { return state_.fed - state_.planned; }
  int64_t open_rows() const { return static_cast<int64_t>(state_.open.size()); }

 private:
  void append(int64_t num_tokens);
  std::optional<Layout> plan_step(const TokenWorth& worth);
  void plan_raw(Layout& layout, int64_t end);
  void plan_skipped(Layout& layout);
  void plan_parallel(Layout& layout);
  void plan_window(Layout& layout, const TokenWorth& worth);
  bool can_run_parallel() const;
  Layout begin_layout() const;
  void add_window_rows(Layout& layout, int64_t end, bool beacons, const TokenWorth& worth);
  void add_due_beacon(Layout& layout, int64_t token);
  void add_chosen_echoes(Layout& layout, const TokenWorth& worth);
  void add_beacons_at_close(Layout& layout);
  void finish_close(Layout& layout, int64_t new_sink);
  void keep_all(const Layout& layout);

  WindowOptions options_;
  PlannerState state_;
};

}  // namespace beacon
