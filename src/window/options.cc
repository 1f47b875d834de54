#include "window/options.h"

#include <algorithm>

#include "base/check.h"
#include "window/ratio.h"

namespace beacon {
namespace {

constexpr auto kBad = ErrorCode::kInvalidArgument;

void check_sizes(const WindowOptions& o) {
  require(o.window >= 1 && o.window <= kMaxSequence, kBad, "window: expected 1 to {}, found {}", kMaxSequence,
          o.window);
  require(
      o.stride >= 1 && o.stride <= o.window, kBad,
      "stride: expected 1 to the window ({}), found {}; a stride above the window would drop tokens unread",
      o.window, o.stride);
  require(
      o.sink >= 0 && o.sink <= o.stride, kBad,
      "sink: expected 0 to the stride ({}), found {}; only tokens that the first close lets go can be kept",
      o.stride, o.sink);
  require(o.parallel_windows >= 1 && o.parallel_windows <= kMaxSequence / o.window, kBad,
          "parallel windows: expected 1 to {}, found {}", kMaxSequence / o.window, o.parallel_windows);
  require(o.max_positions >= 0 && o.expected_tokens >= 0, kBad,
          "max_positions and expected_tokens: expected 0 (unknown) or more, found {} and {}", o.max_positions,
          o.expected_tokens);
}

void check_ratios(const WindowOptions& o) {
  const std::vector<int>& ratios = o.ratio.ratios;
  require(!ratios.empty(), kBad, "ratio: expected at least one, found an empty list");
  for (int r : ratios)
    require(r >= 0, kBad, "ratio: expected 0 (raw) or more raw tokens a beacon, found {}", r);
  const bool forced = o.ratio.mix == RatioPolicy::Mix::kForced;
  const bool one_value = std::all_of(ratios.begin(), ratios.end(), [&](int r) { return r == ratios[0]; });
  if (ratios.size() == 1 || (forced && one_value)) {
    require(ratios[0] <= o.stride, kBad,
            "ratio: expected at most the stride ({}), found {}; no beacon would ever be inserted", o.stride,
            ratios[0]);
  } else if (forced) {
    for (int r : ratios)
      require(r == 0 || o.stride % r == 0, kBad,
              "ratio: expected divisors of the stride ({}) when windows differ in their ratio, found {}",
              o.stride, r);
  } else {
    const auto choices = ratio_choices(o.ratio, o.stride, !o.training);
    require(std::any_of(choices.begin(), choices.end(), [](int r) { return r > 0; }), kBad,
            "ratio: expected a list with at least one divisor of the stride ({}), found none", o.stride);
  }
  if (o.parallel_windows > 1)
    require(std::find(ratios.begin(), ratios.end(), 0) == ratios.end(), kBad,
            "ratio: expected no 0 with parallel windows, found one; set parallel windows to 1");
  if (o.ratio.mix == RatioPolicy::Mix::kAdapt && ratios.size() > 1) {
    require(o.ratio.adapt_tokens >= 0, kBad, "adapt-N: expected N >= 0, found {}", o.ratio.adapt_tokens);
    require(
        o.max_positions > o.window, kBad,
        "adapt-N: expected the number of positions (max_positions) to be more than the window ({}), found {}",
        o.window, o.max_positions);
  }
}

void check_rules(const WindowOptions& o) {
  const bool interleave = o.placement == Placement::kInterleave;
  if (interleave) {
    require(
        o.generation == Generation::kThird, kBad,
        "placement: expected append for a checkpoint of the first or second generation, found interleave");
    require(o.attention != BeaconAttention::kSegmentation, kBad,
            "attention: expected full-coverage, step-expansion, echo or chosen-echo with interleave, found "
            "segmentation; use append");
    require(o.attention != BeaconAttention::kStepExpansion || !o.attend_prev, kBad,
            "attend_prev: expected false with interleave and step-expansion, found true");
    require(o.attention != BeaconAttention::kStepExpansion || o.stride == o.window, kBad,
            "stride: expected the window ({}) with interleave and step-expansion, found {}", o.window,
            o.stride);
  }
  require(interleave || !is_echo(o.attention), kBad,
          "placement: expected interleave with the attention {}, found append", to_string(o.attention));
  require(o.parallel_windows == 1 || !is_echo(o.attention), kBad,
          "parallel windows: expected 1 with the attention {}, found {}", to_string(o.attention),
          o.parallel_windows);
  require(o.attend_previous_windows || o.generation == Generation::kFirst, kBad,
          "attend_previous_windows: expected true but for the first generation, found false");
  require(o.sink == 0 || o.generation != Generation::kFirst, kBad,
          "sink: expected 0 with the first generation, found {}", o.sink);
  require(o.parallel_windows == 1 || o.generation == Generation::kThird, kBad,
          "parallel windows: expected 1 with the first or second generation, found {}", o.parallel_windows);
  require(o.parallel_windows == 1 || o.stride == o.window, kBad,
          "stride: expected the window ({}) with parallel windows, found {}", o.window, o.stride);
}

void check_forget(const WindowOptions& o) {
  if (!o.forget) return;
  require(o.parallel_windows == 1, kBad, "parallel windows: expected 1 without beacons (forget), found {}",
          o.parallel_windows);
  require(o.skip_first == 0 && !o.skip_last, kBad,
          "skip_first and skip_last: expected none without beacons (forget), found one");
}

void check_skip(const WindowOptions& o) {
  require(o.skip_first >= 0 && o.skip_first <= kMaxSequence, kBad, "skip_first: expected 0 to {}, found {}",
          kMaxSequence, o.skip_first);
  if (o.skip_first == 0 && !o.skip_last) return;
  require(o.stride == o.window, kBad,
          "stride: expected the window ({}) with skip_first or skip_last, found {}", o.window, o.stride);
  require(o.parallel_windows == 1, kBad,
          "parallel windows: expected 1 with skip_first or skip_last, found {}", o.parallel_windows);
  require(o.sink == 0, kBad,
          "sink: expected 0 with skip_first or skip_last, found {}; skipped tokens take its place", o.sink);
  if (o.skip_last)
    require(*o.skip_last >= o.skip_first && (*o.skip_last - o.skip_first) % o.window == 0, kBad,
            "skip_last: expected skip_first ({}) plus a multiple of the window ({}), found {}", o.skip_first,
            o.window, *o.skip_last);
}

}  // namespace

void validate(const WindowOptions& options) {
  if (!options.enabled) {
    require(options.window >= 1 && options.window <= kMaxSequence, kBad, "window: expected 1 to {}, found {}",
            kMaxSequence, options.window);
    return;
  }
  check_sizes(options);
  check_rules(options);
  check_forget(options);
  if (!options.forget) check_ratios(options);
  check_skip(options);
}

bool is_echo(BeaconAttention attention) {
  return attention == BeaconAttention::kEcho || attention == BeaconAttention::kChosenEcho;
}

bool is_plain_causal(const WindowOptions& options) {
  return !options.enabled ||
         (options.attention == BeaconAttention::kFullCoverage && options.generation != Generation::kFirst);
}

const char* to_string(Placement placement) {
  return placement == Placement::kInterleave ? "interleave" : "append";
}

const char* to_string(BeaconAttention attention) {
  switch (attention) {
    case BeaconAttention::kFullCoverage:
      return "full-coverage";
    case BeaconAttention::kStepExpansion:
      return "step-expansion";
    case BeaconAttention::kSegmentation:
      return "segmentation";
    case BeaconAttention::kEcho:
      return "echo";
    case BeaconAttention::kChosenEcho:
      return "chosen-echo";
  }
  return "unknown";
}

const char* to_string(RatioPolicy::Mix mix) {
  switch (mix) {
    case RatioPolicy::Mix::kStepRandom:
      return "step-random";
    case RatioPolicy::Mix::kInstanceRandom:
      return "instance-random";
    case RatioPolicy::Mix::kSequence:
      return "sequence";
    case RatioPolicy::Mix::kAdapt:
      return "adapt";
    case RatioPolicy::Mix::kForced:
      return "forced";
  }
  return "unknown";
}

}  // namespace beacon
