#pragma once
// The beacon_* keys of a checkpoint or adapter, normalised over the three generations of the original code.
// Source: study of the original, 0 (generations), 1.5 and 1.6 (keys), 4 items 2 to 6 (deduction).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/lora.h"
#include "io/model_config.h"

namespace beacon {

enum class BeaconGeneration { kFirst = 1, kSecond = 2, kThird = 3 };
enum class BeaconAttentionRule { kFullCoverage, kStepExpansion, kSegmentation, kEcho, kChosenEcho };
bool is_echo(BeaconAttentionRule attention);
enum class BeaconPlacement { kInterleave, kAppend };
enum class RatioMix { kStepRandom, kInstanceRandom, kSequence, kAdapt };
enum class BeaconEmbedInit { kEos, kBos };

std::string_view to_string(BeaconAttentionRule attention);  // "full-coverage", ...
std::string_view to_string(BeaconPlacement placement);      // "interleave", "append"
std::string_view to_string(BeaconEmbedInit init);           // "eos", "bos"
// "step-random", ..., "adapt-1024".
std::string ratio_mix_to_string(RatioMix mix, int64_t adapt_tokens);
// The inverse; throws kUnsupported with the list of what is supported. adapt_tokens is set for adapt-N only.
RatioMix ratio_mix_from_string(std::string_view text, int64_t& adapt_tokens);

// Which projections have a beacon copy of their own.
struct BeaconParams {
  bool q = false, k = false, v = false, o = false;
  bool mlp = false;  // up and down; first and second generation only
  bool operator==(const BeaconParams&) const = default;
};

struct BeaconConfig {
  BeaconGeneration generation = BeaconGeneration::kThird;  // decides masks and positions of append
  int64_t window = 1024;                                   // raw tokens held before a close
  int64_t stride = 1024;                                   // raw tokens a close lets go; <= window
  BeaconAttentionRule attention = BeaconAttentionRule::kFullCoverage;
  BeaconPlacement placement = BeaconPlacement::kInterleave;
  bool attend_prev = true;  // a beacon sees earlier beacons of its own window
  bool attend_previous_windows =
      true;  // beacons see the memory of earlier windows; false only in generation 1
  std::vector<int> ratios = {2, 4, 8, 16, 32};  // candidates, raw tokens per beacon; 0 = keep raw
  RatioMix ratio_mix = RatioMix::kStepRandom;
  int64_t adapt_tokens = 1024;  // N of adapt-N
  int64_t sink_size = 0;        // first tokens kept for ever; <= stride
  int64_t parallel_window = 1;  // windows encoded in one forward
  BeaconParams params;
  BeaconEmbedInit embed_init = BeaconEmbedInit::kEos;
  std::optional<int64_t> skip_first;  // tokens kept raw in front
  std::optional<int64_t> skip_last;   // from this index on tokens stay raw
  bool gate = false;                  // the beacon gate: one bias per layer and query head
  std::optional<LoraConfig> lora;     // low-rank parts of the base's own projections; adapters only
  std::optional<RopeConfig> rope;     // replaces the base model's, as the adapter was trained with it
  std::string prefix = "beacon_";     // of the keys as found: "beacon_" or "ultragist_"

  // Equal in everything but the spelling.
  bool operator==(const BeaconConfig& other) const;
};

// From the text of config.json or beacon_config.json; nothing when it has no key with either prefix.
// Generations are deduced: 1 by a list stride or beacon_attend_previous, 3 by beacon_pos, else 2; an explicit
// beacon_generation wins. Throws kBadFile or kUnsupported (several strides, retrieval mixes), after
// validate().
std::optional<BeaconConfig> parse_beacon_config(std::string_view json,
                                                const std::string& what = "config.json");

// Checks ranges and combinations; callers repeat it after overriding fields. Throws kInvalidArgument (or
// `code`), one line: what was expected, what was found.
void validate(const BeaconConfig& config, const std::string& what = "beacon options");

// The text of a beacon_config.json that parses back to an equal BeaconConfig; always with the beacon_ prefix.
std::string to_json(const BeaconConfig& config);

}  // namespace beacon
