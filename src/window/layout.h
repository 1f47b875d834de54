#pragma once
// A step while it is being planned: its rows with what the rules need to know of them. Internal to the
// module.
#include <cstdint>
#include <vector>

#include "window/options.h"
#include "window/state.h"
#include "window/step.h"

namespace beacon {

// A row of the open window or of the step.
struct Row {
  SlotKind kind = SlotKind::kRaw;
  int64_t token = 0;       // as OpenRow
  int64_t span_begin = 0;  // as OpenRow
  int32_t position = 0;
  int32_t window = 0;      // parallel windows: which one, from 0; a replica belongs to the window after it
  int32_t copy_from = -1;  // kReplica: index of the new row it repeats
};

// One window of a step: its tokens and the beacons they get.
struct WindowPart {
  int64_t start = 0;        // first token of the window
  int64_t memory_rows = 0;  // position of the window's first row: sink + beacons before it
  int ratio = -1;           // known at the close
};

struct Layout {
  int64_t token_begin = 0;
  int64_t token_end = 0;
  int64_t sink_rows = 0;  // memory before the step
  int64_t beacon_rows = 0;
  int64_t cached_rows = 0;        // rows[0 .. cached_rows) are the open window
  std::vector<Row> rows;          // [cached | new]
  std::vector<WindowPart> parts;  // one; more with parallel windows
  int64_t direct_sink =
      0;  // parallel windows: later windows see the first window's first raw rows as their sink
  Close close;

  int64_t memory_rows() const { return sink_rows + beacon_rows; }
};

// Adds the rows of the open window, at the positions they were given.
void add_cached_rows(Layout& layout, const PlannerState& state, const WindowOptions& options);

// Adds a raw row / a beacon row after the last row of its window. An echo may follow any token that is there.
void add_raw(Layout& layout, const WindowOptions& options, int64_t token);
void add_interleaved_beacon(Layout& layout, const WindowOptions& options, int64_t token, int64_t span_begin);

// Adds the stride / ratio beacons of a full window in append placement (study 1.5). The last beacon also
// takes the tokens that a ratio that does not divide leaves over.
void add_appended_beacons(Layout& layout, const WindowOptions& options, int ratio);

// Parallel windows: after window `part`, the rows its memory would have had if it had been read alone
// (study 1.10). Begins the next part. new_sink: raw rows that the first close will copy to the sink.
void add_replicas(Layout& layout, const WindowOptions& options, int64_t new_sink);

// Fills layout.close: which rows become sink and beacons, and which stay.
void close_windows(Layout& layout, const WindowOptions& options, int64_t new_sink);

}  // namespace beacon
