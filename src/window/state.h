#pragma once
// Everything a Planner needs to go on exactly: a plain struct, to and from bytes for memory files.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "window/options.h"
#include "window/step.h"

namespace beacon {

// A row of the open window.
struct OpenRow {
  SlotKind kind = SlotKind::kRaw;  // kRaw or kBeacon
  int64_t token = 0;               // raw: its token; beacon: the token it follows
  int64_t span_begin = 0;          // beacon: condenses [span_begin, token + 1); raw: token
  bool operator==(const OpenRow&) const = default;
};

struct PlannerState {
  int64_t fed = 0;      // tokens appended so far
  int64_t planned = 0;  // tokens of them consumed by steps
  int64_t window_start =
      0;  // first token of the open window; it closes when token window_start + W - 1 is consumed
  int64_t next_block = 0;  // first token of the next block: where interleave draws its next ratio
  int64_t count = 0;       // interleave: tokens since the last beacon (the remainder)
  int64_t span_begin = 0;  // interleave: first token the next beacon condenses
  int64_t sink_rows = 0;   // memory
  int64_t beacon_rows = 0;
  int64_t windows_closed = 0;
  bool sink_saved = false;      // the first close has happened
  bool frozen = false;          // nothing closes any more
  int64_t frozen_at = 0;        // token from which on all stay raw
  std::vector<OpenRow> open;    // rows of the open window
  std::vector<int32_t> ratios;  // interleave: ratios of the blocks begun and not closed, oldest first
  // Ratio policy.
  uint64_t generator = 0;  // state of the generator
  int64_t draws = 0;       // ratios drawn
  int32_t chosen = -1;     // kInstanceRandom, kAdapt: the ratio of this sequence; -1 = not chosen yet
  bool used_zero = false;  // training: a window of this sequence has used ratio 0
  bool operator==(const PlannerState&) const = default;
};

// Little-endian, versioned; the format is described in the source.
std::vector<uint8_t> to_bytes(const PlannerState& state);

// Throws Error(kBadFile) unless the bytes are exactly one state. Sizes are checked before anything is
// allocated.
PlannerState planner_state_from_bytes(const uint8_t* bytes, size_t size);

// Throws Error(kMismatch) unless the state can have come from a planner with these options.
void check_state(const PlannerState& state, const WindowOptions& options);

// The state with its open window let go and not remembered (cutting a memory before it). Reading goes on at a
// fresh window; sink and beacon rows are as given.
PlannerState without_open_window(PlannerState state, int64_t sink_rows, int64_t beacon_rows);

// The state after `tokens_before` tokens of other documents were put in front (joining memories): token
// numbers shift, sink and beacon rows are as given.
PlannerState shifted(PlannerState state, int64_t tokens_before, int64_t sink_rows, int64_t beacon_rows);

}  // namespace beacon
