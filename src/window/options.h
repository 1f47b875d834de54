#pragma once
// What decides a plan: window, stride, ratios, placement, attention rules, sinks, skips. Plain values,
// checked once by validate(). The module `window` knows integers only: no tensors, no token ids, no files.
#include <cstdint>
#include <optional>
#include <vector>

namespace beacon {

// Longest sequence, largest window: keeps every sum of tokens, rows and positions inside 32 bits.
inline constexpr int64_t kMaxSequence = int64_t{1} << 28;

// Where the beacons of a window stand.
enum class Placement : uint8_t {
  kInterleave,  // one after every `ratio` raw tokens, in unfinished windows too (third generation's default)
  kAppend,      // stride / ratio of them after the last token of a full window
};

// Which raw tokens of its window a beacon sees.
enum class BeaconAttention : uint8_t {
  kFullCoverage,   // everything before it: plain causal attention
  kStepExpansion,  // beacon i the first i * ratio tokens
  kSegmentation,   // beacon i only its own `ratio` tokens (append only)
  kEcho,           // ours, interleave only: what the token it follows sees, and that token, from that token's
                   // position; no other row of the window sees it. Its row begins with that token's embedding
  kChosenEcho,  // ours: echoes that follow chosen tokens of a full stride, half of them evenly spaced, half
                // those of greatest worth (Planner::next())
};

// Which published rules apply; see docs/algorithm.md "Three generations".
enum class Generation : uint8_t { kFirst = 1, kSecond = 2, kThird = 3 };

// How the ratio of each window is chosen.
struct RatioPolicy {
  enum class Mix : uint8_t {
    kStepRandom,      // uniform draw at every window
    kInstanceRandom,  // one uniform draw for the sequence
    kSequence,        // the list in order, again and again
    kAdapt,  // the ratio of smallest capacity that holds the expected tokens + adapt_tokens; else the largest
    kForced,  // ratios[i] is the ratio of window i; running out of them is an error
  };
  std::vector<int> ratios = {8};  // raw tokens a beacon, each >= 1; 0 = the window is kept raw
  Mix mix = Mix::kStepRandom;     // without meaning for a list of one (that ratio is always taken)
  int64_t adapt_tokens = 1024;    // N of adapt-N: room for what is generated after the first feed
};

struct WindowOptions {
  bool enabled = true;    // false: all tokens stay raw and nothing ever closes: the plain base model
  int64_t window = 1024;  // W: raw tokens held when a close happens, >= 1
  int64_t stride = 1024;  // S: raw tokens a close lets go, 1 .. window; the youngest W - S stay raw
  RatioPolicy ratio;
  Placement placement = Placement::kInterleave;
  BeaconAttention attention = BeaconAttention::kFullCoverage;
  bool attend_prev = true;  // append: a beacon sees the earlier beacons of its own window (not with full
                            // coverage, which always does, nor in the first generation and as an echo, which
                            // never does)
  bool attend_previous_windows = true;  // first generation: beacons see the memory of earlier windows
  int64_t sink = 0;                     // first raw tokens kept for ever, 0 .. stride
  bool forget = false;  // no beacons at all: what a close lets go is gone, but for the sink. The yardstick
                        // that beacons are measured against; ratios and placement have no meaning with it
  int64_t parallel_windows = 1;  // full windows encoded in one step, with replicas of their beacons
  int64_t skip_first = 0;        // tokens kept raw for ever in the sink's place; 0 = none
  std::optional<int64_t>
      skip_last;  // tokens from this index on stay raw; (skip_last - skip_first) % window == 0
  Generation generation = Generation::kThird;
  bool training = false;  // the last step, full or not, gets no beacons and draws no ratio (first generation:
                          // a full one does); all tokens must be fed at once
  uint64_t seed = 42;     // of the ratio generator
  int64_t max_positions =
      0;  // trained positions times the rope factor; 0 = unknown. Used by adapt-N and capacities
  int64_t expected_tokens = 0;  // adapt-N: tokens to come; 0 = look at the length of the first feed
};

// Throws Error(kInvalidArgument) with one line naming the first contradiction found.
void validate(const WindowOptions& options);

// Echoes, wherever they stand.
bool is_echo(BeaconAttention attention);

// True when a beacon's attention is plain causal attention, so that no mask is ever needed but for parallel
// windows.
bool is_plain_causal(const WindowOptions& options);

const char* to_string(Placement placement);  // "interleave", "append"
const char* to_string(
    BeaconAttention attention);  // "full-coverage", "step-expansion", "segmentation", "echo", "chosen-echo"
const char* to_string(RatioPolicy::Mix mix);  // "step-random", ..., "adapt", "forced"

}  // namespace beacon
