#include "window/ratio.h"

#include "base/check.h"

namespace beacon {

uint64_t next_uniform(uint64_t& state, uint64_t bound) {
  BEACON_CHECK(bound > 0);
  const uint64_t reject_below = (0 - bound) % bound;  // 2^64 mod bound: the incomplete last round
  for (;;) {
    state += 0x9E3779B97F4A7C15u;
    uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    if (z >= reject_below) return z % bound;
  }
}

std::vector<int> ratio_choices(const RatioPolicy& policy, int64_t stride, bool zero_allowed) {
  if (policy.ratios.size() == 1) return policy.ratios;
  std::vector<int> choices;
  for (int r : policy.ratios)
    if (r == 0 ? zero_allowed : stride % r == 0) choices.push_back(r);
  return choices;
}

int draw_ratio(const WindowOptions& options, PlannerState& state, int64_t window_end) {
  const RatioPolicy& policy = options.ratio;
  if (policy.ratios.size() == 1) {
    ++state.draws;
    return policy.ratios[0];
  }
  if (policy.mix == RatioPolicy::Mix::kForced) {
    require(state.draws < static_cast<int64_t>(policy.ratios.size()), ErrorCode::kInvalidArgument,
            "forced ratios: expected one for window {}, found only {}", state.draws, policy.ratios.size());
    return policy.ratios[static_cast<size_t>(state.draws++)];
  }
  bool zero_allowed = true;
  if (options.training) {
    // A raw window teaches beacons nothing, so one is allowed, and only where a later window still has some.
    // One ratio for the whole sequence can never be 0.
    const bool another_follows = window_end + options.stride <= state.fed;
    const bool a_window =
        policy.mix == RatioPolicy::Mix::kStepRandom || policy.mix == RatioPolicy::Mix::kSequence;
    zero_allowed = a_window && !state.used_zero && another_follows;
  }
  if (state.chosen >= 0 &&
      (policy.mix == RatioPolicy::Mix::kInstanceRandom || policy.mix == RatioPolicy::Mix::kAdapt)) {
    ++state.draws;
    return state.chosen;
  }
  const std::vector<int> choices = ratio_choices(policy, options.stride, zero_allowed);
  BEACON_CHECK(!choices.empty() && policy.mix != RatioPolicy::Mix::kAdapt);
  const bool in_order = policy.mix == RatioPolicy::Mix::kSequence;
  const uint64_t pick = in_order ? static_cast<uint64_t>(state.draws) % choices.size()
                                 : next_uniform(state.generator, choices.size());
  const int ratio = choices[pick];
  if (policy.mix == RatioPolicy::Mix::kInstanceRandom) state.chosen = ratio;
  ++state.draws;
  state.used_zero = state.used_zero || ratio == 0;
  return ratio;
}

}  // namespace beacon
