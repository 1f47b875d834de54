#include "engine/window_setup.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "engine/memory_impl.h"
#include "io/adapter.h"

namespace beacon {
namespace {

// The rolling window with a sink: the best of what needs no training (docs/algorithm.md).
constexpr int64_t kDefaultWindow = 1024;
constexpr int64_t kPositionsPerWindow = 4;  // a small model gets a smaller window

constexpr int64_t kDefaultStride = 512;

int64_t default_stride(int64_t window) { return std::min(window, kDefaultStride); }

constexpr std::initializer_list<BeaconAttention> kAttentions = {
    BeaconAttention::kFullCoverage, BeaconAttention::kStepExpansion, BeaconAttention::kSegmentation,
    BeaconAttention::kEcho, BeaconAttention::kChosenEcho};

Generation generation_of(BeaconGeneration generation) {
  switch (generation) {
    case BeaconGeneration::kFirst:
      return Generation::kFirst;
    case BeaconGeneration::kSecond:
      return Generation::kSecond;
    case BeaconGeneration::kThird:
      return Generation::kThird;
  }
  return Generation::kThird;
}

BeaconAttention attention_of(BeaconAttentionRule rule) {
  switch (rule) {
    case BeaconAttentionRule::kFullCoverage:
      return BeaconAttention::kFullCoverage;
    case BeaconAttentionRule::kStepExpansion:
      return BeaconAttention::kStepExpansion;
    case BeaconAttentionRule::kSegmentation:
      return BeaconAttention::kSegmentation;
    case BeaconAttentionRule::kEcho:
      return BeaconAttention::kEcho;
    case BeaconAttentionRule::kChosenEcho:
      return BeaconAttention::kChosenEcho;
  }
  return BeaconAttention::kFullCoverage;
}

RatioPolicy::Mix mix_of(RatioMix mix) {
  switch (mix) {
    case RatioMix::kStepRandom:
      return RatioPolicy::Mix::kStepRandom;
    case RatioMix::kInstanceRandom:
      return RatioPolicy::Mix::kInstanceRandom;
    case RatioMix::kSequence:
      return RatioPolicy::Mix::kSequence;
    case RatioMix::kAdapt:
      return RatioPolicy::Mix::kAdapt;
  }
  return RatioPolicy::Mix::kAdapt;
}

template <typename Enum>
Enum parse_choice(const std::string& text, std::initializer_list<Enum> choices, const char* what) {
  std::string names;
  for (const Enum choice : choices) {
    if (text == to_string(choice)) return choice;
    names += fmt::format("{}{}", names.empty() ? "" : ", ", to_string(choice));
  }
  fail(ErrorCode::kInvalidArgument, "{} '{}' is not known; one of {} was expected", what, text, names);
}

// What the adapter's file says, or the defaults where there is none.
WindowOptions configured(const BeaconConfig& config, bool from_file, int64_t max_positions) {
  WindowOptions options;
  options.window =
      from_file ? config.window : std::clamp<int64_t>(max_positions / kPositionsPerWindow, 1, kDefaultWindow);
  options.stride = from_file ? config.stride : default_stride(options.window);
  options.placement =
      config.placement == BeaconPlacement::kInterleave ? Placement::kInterleave : Placement::kAppend;
  options.attention = from_file ? attention_of(config.attention) : BeaconAttention::kEcho;
  options.attend_prev = config.attend_prev;
  options.attend_previous_windows = config.attend_previous_windows;
  options.sink = from_file ? config.sink_size : 0;
  options.parallel_windows = config.parallel_window;
  options.skip_first = config.skip_first.value_or(0);
  options.skip_last = config.skip_last;
  options.generation = generation_of(config.generation);
  if (from_file) {
    options.ratio = {config.ratios, mix_of(config.ratio_mix), config.adapt_tokens};
  } else {
    options.ratio = {{0, 2, 4, 8, 16, 32, 64, 128}, RatioPolicy::Mix::kAdapt, 1024};
  }
  return options;
}

void lay_over(const BeaconOptions& wanted, bool from_file, WindowOptions& options) {
  options.enabled = wanted.enabled;
  if (wanted.window) {
    options.window = *wanted.window;
    // A window given alone takes the stride with it.
    if (!from_file) options.stride = default_stride(options.window);
    if (options.stride > options.window) options.stride = options.window;
  }
  if (wanted.stride) options.stride = *wanted.stride;
  if (wanted.placement) {
    options.placement =
        parse_choice(*wanted.placement, {Placement::kInterleave, Placement::kAppend}, "placement");
  }
  if (wanted.attention) {
    options.attention = parse_choice(*wanted.attention, kAttentions, "attention");
  }
  // Echoes, the default of untrained beacons, cannot be everywhere.
  const bool no_echoes = options.placement == Placement::kAppend || wanted.parallel_windows.value_or(1) > 1;
  if (!from_file && !wanted.attention && no_echoes) options.attention = BeaconAttention::kFullCoverage;
  if (wanted.attend_prev) options.attend_prev = *wanted.attend_prev;
  if (wanted.parallel_windows) options.parallel_windows = *wanted.parallel_windows;
  if (wanted.skip_first) options.skip_first = *wanted.skip_first;
  if (wanted.skip_last) options.skip_last = *wanted.skip_last;
  if (wanted.sink) {
    options.sink = *wanted.sink;
  } else if (options.stride < options.window && options.sink == 0) {
    options.sink = 1;  // a rolling window without a sink loses the attention the first token draws
  }
  options.seed = wanted.seed;
  options.expected_tokens = wanted.expected_tokens;
}

void lay_over_ratios(const BeaconOptions& wanted, RatioPolicy& policy) {
  if (!wanted.ratios.empty()) {
    policy.ratios.clear();
    for (const int64_t ratio : wanted.ratios) {
      require(ratio >= 0 && ratio <= 1 << 20, ErrorCode::kInvalidArgument,
              "ratio {} is out of range; 0 (keep raw) or a number of tokens per beacon was expected", ratio);
      policy.ratios.push_back(static_cast<int>(ratio));
    }
  }
  if (!wanted.ratio_mix) return;
  try {
    policy.mix = mix_of(ratio_mix_from_string(*wanted.ratio_mix, policy.adapt_tokens));
  } catch (const Error& error) {
    fail(ErrorCode::kInvalidArgument, "{}", error.what());  // an option of the user's, not a file
  }
}

void check_chosen_echoes(const WindowOptions& options, const Model::Impl& model) {
  if (!options.enabled || options.attention != BeaconAttention::kChosenEcho) return;
  require(model.net.weights().token_worth.defined(), ErrorCode::kInvalidArgument,
          "attention chosen-echo needs an adapter that holds the worth of tokens ({}), found none; train one "
          "with "
          "it, or take echo",
          kTokenWorth);
  require(options.stride <= static_cast<int64_t>(Memory::Impl::kRecentTokens), ErrorCode::kInvalidArgument,
          "stride: expected at most {} with attention chosen-echo, found {}", Memory::Impl::kRecentTokens,
          options.stride);
}

}  // namespace

WindowOptions resolve_window(const BeaconOptions& wanted, const Model::Impl& model) {
  WindowOptions options = configured(model.beacons, model.beacons_configured, model.info.max_positions);
  options.max_positions = model.info.max_positions;
  lay_over(wanted, model.beacons_configured, options);
  lay_over_ratios(wanted, options.ratio);
  validate(options);
  check_chosen_echoes(options, model);
  return options;
}

std::string window_to_json(const WindowOptions& o) {
  nlohmann::json json = {
      {"enabled", o.enabled},
      {"window", o.window},
      {"stride", o.stride},
      {"ratios", o.ratio.ratios},
      {"ratio_mix", to_string(o.ratio.mix)},
      {"adapt_tokens", o.ratio.adapt_tokens},
      {"placement", to_string(o.placement)},
      {"attention", to_string(o.attention)},
      {"attend_prev", o.attend_prev},
      {"attend_previous_windows", o.attend_previous_windows},
      {"sink", o.sink},
      {"parallel_windows", o.parallel_windows},
      {"skip_first", o.skip_first},
      {"generation", static_cast<int>(o.generation)},
      {"seed", o.seed},
      {"max_positions", o.max_positions},
      {"expected_tokens", o.expected_tokens},
  };
  if (o.skip_last) json["skip_last"] = *o.skip_last;
  return json.dump();
}

WindowOptions window_from_json(const std::string& text) {
  using Mix = RatioPolicy::Mix;
  WindowOptions o;
  try {
    const auto json = nlohmann::json::parse(text);
    o.enabled = json.at("enabled");
    o.window = json.at("window");
    o.stride = json.at("stride");
    o.ratio.ratios = json.at("ratios").get<std::vector<int>>();
    o.ratio.mix = parse_choice(
        json.at("ratio_mix").get<std::string>(),
        {Mix::kStepRandom, Mix::kInstanceRandom, Mix::kSequence, Mix::kAdapt, Mix::kForced}, "ratio_mix");
    o.ratio.adapt_tokens = json.at("adapt_tokens");
    o.placement = parse_choice(json.at("placement").get<std::string>(),
                               {Placement::kInterleave, Placement::kAppend}, "placement");
    o.attention = parse_choice(json.at("attention").get<std::string>(), kAttentions, "attention");
    o.attend_prev = json.at("attend_prev");
    o.attend_previous_windows = json.at("attend_previous_windows");
    o.sink = json.at("sink");
    o.parallel_windows = json.at("parallel_windows");
    o.skip_first = json.at("skip_first");
    if (json.contains("skip_last")) o.skip_last = json.at("skip_last").get<int64_t>();
    const int generation = json.at("generation");
    require(generation >= 1 && generation <= 3, ErrorCode::kBadFile,
            "generation {} in the window options; 1, 2 or 3 was expected", generation);
    o.generation = static_cast<Generation>(generation);
    o.seed = json.at("seed");
    o.max_positions = json.at("max_positions");
    o.expected_tokens = json.at("expected_tokens");
    validate(o);
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::kBadFile, "the window options of the memory file cannot be read: {}", error.what());
  } catch (const Error& error) {
    fail(ErrorCode::kBadFile, "the window options of the memory file are not valid: {}", error.what());
  }
  return o;
}

}  // namespace beacon
