#pragma once
// One forward of the network, as integers: which rows it computes, where they stand, what they see, what is
// kept.
#include <cstdint>
#include <vector>

namespace beacon {

enum class SlotKind : uint8_t {
  kRaw,      // a token of the text
  kBeacon,   // the beacon token: beacon embedding and projections; its logits are never used
  kReplica,  // parallel windows only: repeats the q, k, v of another new row at another position, in every
             // layer
};

// Raw tokens [begin, end) of the sequence.
struct Span {
  int64_t begin = 0;
  int64_t end = 0;
  bool operator==(const Span&) const = default;
};

inline constexpr int kForgotten = -1;  // in a ratio's place: nothing was kept of these tokens

// A window that was condensed, for the ledger and the memory file.
struct WindowRecord {
  Span tokens;              // the tokens let go by this close: [start, start + stride)
  int ratio = 0;            // 0: kept raw; kForgotten
  int64_t num_beacons = 0;  // rows it adds to beacon memory (raw rows at ratio 0)
  bool operator==(const WindowRecord&) const = default;
};

// What happens after a step that fills a window. The rows meant are those of the open window, [cached | new]:
// index i < cached_rows is a cached row, i - cached_rows a row of this step.
struct Close {
  bool closes = false;
  std::vector<int32_t> sink;  // copied to the sink, in order (the rows may be in `beacons` or `keep` as well)
  std::vector<int32_t> beacons;  // appended to beacon memory, in order (raw rows at ratio 0)
  std::vector<int32_t> keep;     // the open window of the next step, in order: raw tail with its beacons
  std::vector<int32_t> keep_positions;  // [keep] where they differ from sink + beacon + index; else empty
  std::vector<Span> beacon_spans;       // [beacons] tokens each of them condensed (one token for a raw row)
  std::vector<WindowRecord>
      windows;  // windows closed, in order: one, or parallel_windows; none for skip_first
};

// Rows a step sees: memory [sink | beacons | open window] then the T new rows. Key positions of memory rows
// are their index in it, but for `cached_positions`. After a close row i of the new [sink | beacons | open
// window] has position i, but for `keep_positions`: its key is rotated once more, from the copy before RoPE.
struct Step {
  int64_t token_begin = 0;  // raw tokens [token_begin, token_end) of the sequence are consumed
  int64_t token_end = 0;
  std::vector<SlotKind> slots;     // [T] kind of each new row, in order
  std::vector<int64_t> echo_of;    // [T] token that an echo repeats, -1 for other rows; empty without echoes
  std::vector<int32_t> positions;  // [T] RoPE position of each new row, as query and as key
  std::vector<int32_t>
      copy_from;          // [T] kReplica: index of the new row it repeats, else -1; empty without replicas
  int64_t sink_rows = 0;  // memory before the step
  int64_t beacon_rows = 0;
  int64_t cached_rows = 0;
  std::vector<int32_t>
      cached_positions;       // [cached_rows] where they differ from sink + beacon + index; else empty
  bool causal = true;         // row i sees all memory and new rows 0..i: causal from the bottom right
  std::vector<uint8_t> mask;  // [T, memory_rows + T] 1 = visible; empty when causal
  Close close;

  int64_t num_rows() const { return static_cast<int64_t>(slots.size()); }
  int64_t memory_rows() const { return sink_rows + beacon_rows + cached_rows; }
};

}  // namespace beacon
