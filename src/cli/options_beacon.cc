#include "cli/options_beacon.h"

#include <charconv>

#include "cli/option_helpers.h"

namespace beacon::cli {
namespace {

constexpr const char* kGroup = "Beacons";

// Empty when the text is one of the rules, else what is wrong with it.
std::string check_ratio_mix(const std::string& text) {
  const std::string prefix = "adapt-";
  const bool adapt = text.size() > prefix.size() && text.compare(0, prefix.size(), prefix) == 0 &&
                     text.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
  if (adapt || text == "step-random" || text == "instance-random" || text == "sequence") return {};
  return "expected step-random, instance-random, sequence or adapt-N, found '" + text + "'";
}

void add_shape_options(CLI::App& command, BeaconOptions& options) {
  const auto count = [&](const char* name, std::optional<int64_t>& field, const char* description) {
    add_optional(command, name, field, description)->type_name("N")->group(kGroup);
  };
  count("--window", options.window,
        "Raw tokens condensed together (default: the adapter's, else 1024 or a quarter of the positions)");
  count("--stride", options.stride,
        "Raw tokens let go when a window is full (default: the adapter's, else 512 or the window, the "
        "smaller)");
  command
      .add_option_function<std::string>(
          "--ratio", [&options](const std::string& text) { set_ratio(options, text); },
          "Raw tokens per beacon: a number (0 keeps tokens raw), a list to choose from, or auto: 0 "
          "when the model itself holds the text, else the smallest of 2,4,..,128 that does (default: the "
          "adapter's, else auto)")
      ->type_name("N|N,N..|auto")
      ->group(kGroup);
  add_optional(
      command, "--ratio-mix", options.ratio_mix,
      "How to choose from a list: step-random, instance-random, sequence or adapt-N (default: the adapter's)")
      ->type_name("RULE")
      ->check(check_ratio_mix)
      ->group(kGroup);
  count("--sink", options.sink,
        "First tokens kept for ever (default: the adapter's, else 1 when stride < window, 0 otherwise)");
  count("--parallel", options.parallel_windows,
        "Full windows read in one forward (default: the adapter's, else 1)");
  count("--skip-first", options.skip_first, "First tokens that are never condensed (default: 0)");
  count("--skip-last", options.skip_last, "Tokens from this index on stay raw (default: none)");
}

void add_rule_options(CLI::App& command, BeaconOptions& options) {
  add_optional(command, "--placement", options.placement,
               "Where beacons stand: interleave or append (default: the adapter's, else interleave)")
      ->type_name("WHERE")
      ->group(kGroup);
  add_attention_option(command, options.attention)->group(kGroup);
  command
      .add_flag_function(
          "--no-attend-prev", [&options](int64_t) { options.attend_prev = false; },
          "Beacons do not see earlier beacons of their window (default: they do, or as the adapter says)")
      ->group(kGroup);
  command
      .add_flag_function(
          "--no-beacons", [&options](int64_t) { options.enabled = false; },
          "A plain model: every token stays raw")
      ->group(kGroup);
  command
      .add_flag("--beyond-positions", options.beyond_positions,
                "Go on past the positions the model was trained on (speed tests)")
      ->group(kGroup);
  command.add_option("--beacon-seed", options.seed, "Seed of the random ratio rules")
      ->type_name("N")
      ->capture_default_str()
      ->group(kGroup);
}

}  // namespace

void refuse_beacon_options(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    const bool refused = option->get_group() == kGroup && option->get_name() != "--beyond-positions";
    if (refused && option->count() > 0)
      throw CLI::ValidationError("--memory", "expected no " + option->get_name() +
                                                 " beside it: the memory file holds how it was condensed");
  }
}

void set_ratio(BeaconOptions& options, const std::string& text) {
  if (text == "auto") {
    options.ratios = {0, 2, 4, 8, 16, 32, 64, 128};
    options.ratio_mix = "adapt-1024";
    return;
  }
  std::vector<int64_t> ratios;
  const char* next = text.data();
  const char* const end = text.data() + text.size();
  while (true) {
    int64_t ratio = -1;
    const auto [after, error] = std::from_chars(next, end, ratio);
    if (error != std::errc() || ratio < 0 || (after != end && *after != ','))
      throw CLI::ValidationError("--ratio",
                                 "expected a number, a list like 2,4,8 or auto, found '" + text + "'");
    ratios.push_back(ratio);
    if (after == end) break;
    next = after + 1;
  }
  options.ratios = ratios;
}

CLI::Option* add_attention_option(CLI::App& command, std::optional<std::string>& attention) {
  return add_optional(
             command, "--attention", attention,
             "What beacons see: full-coverage, step-expansion, segmentation, echo or chosen-echo (default: "
             "the adapter's, else echo, or full-coverage with append or --parallel)")
      ->type_name("RULE");
}

CLI::Option* add_memory_type_option(CLI::App& command, MemoryType& type) {
  return add_choice<MemoryType>(command, "--memory-type", type,
                                {{"auto", MemoryType::kAuto},
                                 {"f32", MemoryType::kF32},
                                 {"bf16", MemoryType::kBF16},
                                 {"q8_0", MemoryType::kQ8_0}},
                                "Numbers in memory; auto = as computed, q8_0 = 8 bits and scales");
}

void add_beacon_options(CLI::App& command, SessionOptions& options) {
  add_shape_options(command, options.beacons);
  add_rule_options(command, options.beacons);
  command
      .add_option("--expected-tokens", options.beacons.expected_tokens,
                  "Length of the text to come, for --ratio auto; 0 = that of this call")
      ->type_name("N")
      ->check(whole_number<int64_t>(0))
      ->capture_default_str()
      ->group(kGroup);
  add_memory_type_option(command, options.memory_type)->group(kGroup);
}

}  // namespace beacon::cli
