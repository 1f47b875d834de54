#include "window/capacity.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked.h"
#include "window/planner.h"

namespace beacon {
namespace {

WindowOptions with_one_ratio(WindowOptions options, int ratio) {
  options.ratio.ratios = {ratio};
  options.ratio.mix = RatioPolicy::Mix::kStepRandom;
  options.training = false;
  return options;
}

}  // namespace

int64_t capacity(int64_t max_positions, int64_t window, int ratio) {
  if (max_positions < window) return 0;
  return ratio == 0 ? max_positions : (max_positions - window) * ratio + window;
}

int adapt_ratio(const std::vector<int>& ratios, int64_t max_positions, int64_t window, int64_t tokens,
                int64_t adapt_tokens) {
  BEACON_CHECK(!ratios.empty());
  int best = -1;
  for (int r : ratios) {
    const int64_t holds = capacity(max_positions, window, r);
    if (holds < tokens + adapt_tokens) continue;
    if (best < 0 || holds < capacity(max_positions, window, best)) best = r;
  }
  return best >= 0 ? best : *std::max_element(ratios.begin(), ratios.end());
}

int64_t positions_needed(const WindowOptions& options, int ratio, int64_t tokens) {
  return Planner(with_one_ratio(options, ratio)).forecast(tokens).positions;
}

int64_t tokens_that_fit(const WindowOptions& options, int ratio, int64_t limit) {
  require(options.max_positions > 0, ErrorCode::kInvalidArgument,
          "capacity: expected the number of positions (max_positions), found {}", options.max_positions);
  Planner planner(with_one_ratio(options, ratio));
  const auto fits = [&](int64_t more) { return planner.forecast(more).positions <= options.max_positions; };
  const int64_t more = options.window;
  while (planner.tokens_planned() + more <= limit && fits(more)) planner.advance(more);
  int64_t low = 0;  // the most of the next window that fits, by bisection
  int64_t high = std::min(more, limit - planner.tokens_planned());
  while (low < high) {
    const int64_t middle = (low + high + 1) / 2;
    if (fits(middle))
      low = middle;
    else
      high = middle - 1;
  }
  return planner.tokens_planned() + low;
}

std::optional<int> smallest_ratio_that_holds(const WindowOptions& options, int64_t tokens,
                                             std::vector<int> candidates) {
  require(options.max_positions > 0, ErrorCode::kInvalidArgument,
          "capacity: expected the number of positions (max_positions), found {}", options.max_positions);
  if (candidates.empty())
    for (int64_t r = 1; r <= options.stride; ++r)
      if (options.stride % r == 0) candidates.push_back(static_cast<int>(r));
  std::sort(candidates.begin(), candidates.end());
  for (int r : candidates) {
    if (r < 1 || r > options.stride) continue;
    // A bound that costs nothing first: the beacons of the closed windows alone.
    const int64_t closes = tokens < options.window ? 0 : (tokens - options.window) / options.stride;
    if (closes * (options.stride / r) > options.max_positions) continue;
    if (positions_needed(options, r, tokens) <= options.max_positions) return r;
  }
  return std::nullopt;
}

int64_t num_strides(const WindowOptions& options, int64_t tokens) {
  if (tokens <= 0) return 0;
  return tokens <= options.window ? 1 : ceil_div(tokens - options.window, options.stride) + 1;
}

}  // namespace beacon
