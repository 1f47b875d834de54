#include "window/planner.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "window/capacity.h"
#include "window/layout.h"
#include "window/ratio.h"
#include "window/visibility.h"

namespace beacon {
namespace {

// Positions of the rows of the open window; empty where each stands at its index in memory.
std::vector<int32_t> cached_positions(const Layout& layout) {
  std::vector<int32_t> positions;
  bool moved = false;
  for (int64_t i = 0; i < layout.cached_rows; ++i) {
    positions.push_back(layout.rows[static_cast<size_t>(i)].position);
    moved = moved || positions.back() != layout.memory_rows() + i;
  }
  if (!moved) positions.clear();
  return positions;
}

Step to_step(const Layout& layout, const WindowOptions& options) {
  Step step;
  step.token_begin = layout.token_begin;
  step.token_end = layout.token_end;
  step.sink_rows = layout.sink_rows;
  step.beacon_rows = layout.beacon_rows;
  step.cached_rows = layout.cached_rows;
  step.cached_positions = cached_positions(layout);
  bool replicas = false;
  for (size_t i = static_cast<size_t>(layout.cached_rows); i < layout.rows.size(); ++i) {
    const Row& row = layout.rows[i];
    step.positions.push_back(row.position);
    step.slots.push_back(row.kind);
    step.copy_from.push_back(row.copy_from);
    if (is_echo(options.attention)) step.echo_of.push_back(row.kind == SlotKind::kBeacon ? row.token : -1);
    replicas = replicas || row.kind == SlotKind::kReplica;
  }
  if (!replicas) step.copy_from.clear();
  step.causal = is_causal(layout, options);
  if (!step.causal) step.mask = build_mask(layout, options);
  step.close = layout.close;
  return step;
}

// Offsets in a stride of those tokens that get an echo, ascending: half of them evenly spaced, the rest those
// of greatest worth.
std::vector<int64_t> chosen_offsets(int64_t stride, int64_t count, int64_t first, const TokenWorth& worth) {
  std::vector<int64_t> offsets(static_cast<size_t>(stride));
  std::iota(offsets.begin(), offsets.end(), 0);
  const int64_t even = count / 2;
  for (int64_t i = 0; i < even; ++i) {
    const auto at = offsets.begin() + (i + 1) * stride / even - 1;
    std::rotate(offsets.begin() + i, at, at + 1);  // the others keep their order
  }
  std::stable_sort(offsets.begin() + even, offsets.end(),
                   [&](int64_t a, int64_t b) { return worth.of(first + a) > worth.of(first + b); });
  offsets.resize(static_cast<size_t>(count));
  std::sort(offsets.begin(), offsets.end());
  return offsets;
}

}  // namespace

float TokenWorth::of(int64_t token) const {
  const int64_t at = token - first;
  return at >= 0 && at < static_cast<int64_t>(values.size()) ? values[static_cast<size_t>(at)] : 0.0F;
}

Planner::Planner(WindowOptions options) : options_(std::move(options)) {
  validate(options_);
  state_.generator = options_.seed;
}

Planner::Planner(WindowOptions options, PlannerState state)
    : options_(std::move(options)), state_(std::move(state)) {
  validate(options_);
  check_state(state_, options_);
}

void Planner::feed(int64_t num_tokens) {
  require(num_tokens >= 0, ErrorCode::kInvalidArgument, "feed: expected 0 tokens or more, found {}",
          num_tokens);
  if (num_tokens == 0) return;
  require(!options_.training || state_.fed == 0, ErrorCode::kInvalidArgument,
          "feed: expected all tokens of a training sequence at once, found a second feed after {} tokens",
          state_.fed);
  append(num_tokens);
}

void Planner::append(int64_t num_tokens) {
  require(num_tokens <= kMaxSequence - state_.fed, ErrorCode::kCapacity,
          "feed: expected at most {} tokens in a sequence, found {} more after {}", kMaxSequence, num_tokens,
          state_.fed);
  const RatioPolicy& policy = options_.ratio;
  if (options_.enabled && !options_.forget && policy.mix == RatioPolicy::Mix::kAdapt &&
      policy.ratios.size() > 1 && state_.chosen < 0) {
    const int64_t expected = options_.expected_tokens > 0 ? options_.expected_tokens : num_tokens;
    state_.chosen = adapt_ratio(ratio_choices(policy, options_.stride, !options_.training),
                                options_.max_positions, options_.window, expected, policy.adapt_tokens);
  }
  state_.fed += num_tokens;
}

void Planner::discard_pending() { state_.fed = state_.planned; }

void Planner::freeze() {
  if (state_.frozen) return;
  state_.frozen = true;
  state_.frozen_at = state_.planned;
}

void Planner::force_ratios(std::vector<int> ratios) {
  require(state_.draws == 0, ErrorCode::kInvalidArgument,
          "forced ratios: expected before the first ratio is drawn, found {} drawn", state_.draws);
  WindowOptions options = options_;
  options.ratio.ratios = std::move(ratios);
  options.ratio.mix = RatioPolicy::Mix::kForced;
  validate(options);
  options_ = std::move(options);
}

std::optional<Step> Planner::next(const TokenWorth& worth) {
  const auto layout = plan_step(worth);
  if (!layout) return std::nullopt;
  return to_step(*layout, options_);
}

void Planner::advance(int64_t more_tokens) {
  append(more_tokens);
  while (plan_step({})) {
  }
}

Forecast Planner::forecast(int64_t more_tokens) const {
  require(more_tokens >= 0, ErrorCode::kInvalidArgument, "forecast: expected 0 tokens or more, found {}",
          more_tokens);
  Planner copy = *this;
  if (more_tokens > 0) copy.append(more_tokens);
  Forecast out;
  while (const auto layout = copy.plan_step({})) {
    for (const Row& row : layout->rows) out.positions = std::max<int64_t>(out.positions, row.position + 1);
    const int64_t rows = layout->memory_rows() + static_cast<int64_t>(layout->rows.size());
    out.peak_rows = std::max(out.peak_rows, rows);
    ++out.steps;
  }
  out.sink_rows = copy.state_.sink_rows;
  out.beacon_rows = copy.state_.beacon_rows;
  out.open_rows = copy.open_rows();
  return out;
}

int64_t Planner::stride_begin() const {
  const PlannerState& s = state_;
  return s.planned < s.next_block ? s.next_block - options_.stride : s.planned;
}

std::vector<int32_t> Planner::open_positions() const { return cached_positions(begin_layout()); }

// Of the open window alone.
Layout Planner::begin_layout() const {
  Layout layout;
  layout.token_begin = state_.planned;
  layout.sink_rows = state_.sink_rows;
  layout.beacon_rows = state_.beacon_rows;
  layout.parts.push_back({state_.window_start, layout.memory_rows(), -1});
  add_cached_rows(layout, state_, options_);
  return layout;
}

std::optional<Layout> Planner::plan_step(const TokenWorth& worth) {
  PlannerState& s = state_;
  if (s.planned == s.fed) return std::nullopt;
  if (options_.enabled && options_.skip_last && s.planned >= *options_.skip_last) freeze();
  Layout layout = begin_layout();
  if (!options_.enabled || s.frozen) {
    // Nothing will close; cutting every W tokens only bounds the size of a step.
    const int64_t done = s.planned - (options_.enabled ? s.frozen_at : 0);
    plan_raw(layout, s.planned + options_.window - done % options_.window);
  } else if (s.planned < options_.skip_first) {
    plan_skipped(layout);
  } else if (can_run_parallel()) {
    plan_parallel(layout);
  } else {
    plan_window(layout, worth);
  }
  layout.token_end = s.planned;
  return layout;
}

void Planner::plan_raw(Layout& layout, int64_t end) {
  end = std::min(end, state_.fed);
  for (int64_t t = state_.planned; t < end; ++t) add_raw(layout, options_, t);
  state_.planned = end;
  keep_all(layout);
}

// The skipped tokens stand where the sink stands, for ever.
void Planner::plan_skipped(Layout& layout) {
  PlannerState& s = state_;
  plan_raw(layout, options_.skip_first);
  if (s.planned < options_.skip_first) return;
  layout.close.closes = true;
  for (size_t i = 0; i < layout.rows.size(); ++i) layout.close.sink.push_back(static_cast<int32_t>(i));
  s.sink_rows += static_cast<int64_t>(layout.rows.size());
  s.sink_saved = true;
  s.window_start = s.next_block = s.span_begin = s.planned;
  s.open.clear();
}

bool Planner::can_run_parallel() const {
  const PlannerState& s = state_;
  if (options_.parallel_windows == 1 || !s.open.empty()) return false;
  const int64_t needed = options_.parallel_windows * options_.window;
  // In training the last window gets no beacons, so it cannot be one of them.
  return s.fed - s.planned >= needed + (options_.training ? 1 : 0);
}

void Planner::plan_parallel(Layout& layout) {
  PlannerState& s = state_;
  const int64_t new_sink = s.sink_saved ? 0 : options_.sink;
  for (int64_t w = 0; w < options_.parallel_windows; ++w) {
    if (w > 0) add_replicas(layout, options_, new_sink);
    add_window_rows(layout, s.planned + options_.window, /*beacons=*/true, {});
    add_beacons_at_close(layout);
  }
  finish_close(layout, new_sink);
}

void Planner::plan_window(Layout& layout, const TokenWorth& worth) {
  PlannerState& s = state_;
  const int64_t window_end = s.window_start + options_.window;
  int64_t end = std::min(s.fed, window_end);
  if (options_.skip_last) end = std::min(end, *options_.skip_last);
  const bool first_generation_full = options_.generation == Generation::kFirst && s.fed == window_end;
  if (options_.training && s.fed <= window_end && !first_generation_full) {
    plan_raw(layout, end);
    return;
  }
  add_window_rows(layout, end, options_.placement == Placement::kInterleave, worth);
  if (end < window_end) {
    keep_all(layout);
    return;
  }
  add_beacons_at_close(layout);
  finish_close(layout, s.sink_saved ? 0 : options_.sink);
}

// Raw rows up to `end`, interleaved with the beacons they make due.
void Planner::add_window_rows(Layout& layout, int64_t end, bool beacons, const TokenWorth& worth) {
  PlannerState& s = state_;
  beacons = beacons && options_.placement == Placement::kInterleave && !options_.forget;
  const bool chosen = options_.attention == BeaconAttention::kChosenEcho;
  for (int64_t t = s.planned; t < end; ++t) {
    if (beacons && t == s.next_block) {
      s.ratios.push_back(draw_ratio(options_, s, t + options_.window));
      s.next_block += options_.stride;
    }
    add_raw(layout, options_, t);
    if (beacons && !chosen) add_due_beacon(layout, t);
    if (beacons && chosen && t + 1 == s.next_block) add_chosen_echoes(layout, worth);
  }
  s.planned = end;
}

// After `token`, if it completes the raw tokens of a beacon.
void Planner::add_due_beacon(Layout& layout, int64_t token) {
  PlannerState& s = state_;
  const int ratio = s.ratios.back();
  if (ratio != 0 && ++s.count < ratio) return;
  if (ratio != 0) add_interleaved_beacon(layout, options_, token, s.span_begin);
  s.count = 0;
  s.span_begin = token + 1;
}

// Of the stride that is complete. A ratio that does not divide it gives one echo less.
void Planner::add_chosen_echoes(Layout& layout, const TokenWorth& worth) {
  PlannerState& s = state_;
  const int ratio = s.ratios.back();
  const int64_t first = s.next_block - options_.stride, count = ratio == 0 ? 0 : options_.stride / ratio;
  s.span_begin = first;
  for (const int64_t offset : chosen_offsets(options_.stride, count, first, worth)) {
    add_interleaved_beacon(layout, options_, first + offset, s.span_begin);
    s.span_begin = first + offset + 1;
  }
  s.span_begin = s.next_block;
}

// The last window of the layout is full: its ratio is now final.
void Planner::add_beacons_at_close(Layout& layout) {
  PlannerState& s = state_;
  WindowPart& part = layout.parts.back();
  if (options_.forget) {
    part.ratio = kForgotten;
    return;
  }
  if (options_.placement == Placement::kInterleave) {
    part.ratio = s.ratios.front();
    s.ratios.erase(s.ratios.begin());
    return;
  }
  part.ratio = draw_ratio(options_, s, part.start + options_.window);
  add_appended_beacons(layout, options_, part.ratio);
}

void Planner::finish_close(Layout& layout, int64_t new_sink) {
  PlannerState& s = state_;
  close_windows(layout, options_, new_sink);
  s.sink_rows += static_cast<int64_t>(layout.close.sink.size());
  s.beacon_rows += static_cast<int64_t>(layout.close.beacons.size());
  s.windows_closed += static_cast<int64_t>(layout.parts.size());
  s.window_start = layout.parts.back().start + options_.stride;
  if (options_.placement == Placement::kAppend || options_.forget) s.next_block = s.window_start;
  s.sink_saved = true;
  s.open.clear();
  for (int32_t i : layout.close.keep) {
    const Row& row = layout.rows[static_cast<size_t>(i)];
    s.open.push_back({row.kind, row.token, row.span_begin});
  }
  layout.close.keep_positions = open_positions();
}

void Planner::keep_all(const Layout& layout) {
  for (size_t i = state_.open.size(); i < layout.rows.size(); ++i)
    state_.open.push_back({layout.rows[i].kind, layout.rows[i].token, layout.rows[i].span_begin});
}

}  // namespace beacon
