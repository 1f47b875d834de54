#include "window/state.h"

#include "base/check.h"

// Bytes: "BPS1", then 64-bit little-endian integers: fed, planned, window_start, next_block, count,
// span_begin, sink_rows, beacon_rows, windows_closed, flags (bit 0 sink_saved, 1 frozen, 2 used_zero),
// frozen_at, generator, draws, chosen, number of ratios, number of open rows; then each ratio (i32); then per
// open row kind (u8), token, span_begin.
namespace beacon {
namespace {

constexpr uint8_t kMagic[4] = {'B', 'P', 'S', '1'};
constexpr size_t kNumFields = 16;
constexpr size_t kHeaderBytes = sizeof(kMagic) + kNumFields * 8;
constexpr size_t kRatioBytes = 4;
constexpr size_t kRowBytes = 17;

void put(std::vector<uint8_t>& out, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

uint64_t get(const uint8_t*& at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(*at++) << (8 * i);
  return value;
}

int64_t get_i64(const uint8_t*& at) { return static_cast<int64_t>(get(at, 8)); }

bool in(int64_t value, int64_t low, int64_t high) { return value >= low && value <= high; }

void check_counters(const PlannerState& s) {
  const bool ok = in(s.fed, 0, kMaxSequence) && in(s.planned, 0, s.fed) && in(s.window_start, 0, s.planned) &&
                  in(s.sink_rows, 0, s.planned) && in(s.beacon_rows, 0, 2 * s.planned) &&
                  in(s.count, 0, s.planned) && in(s.span_begin, 0, s.planned - s.count) &&
                  in(s.windows_closed, 0, s.planned) && in(s.draws, 0, kMaxSequence) &&
                  in(s.frozen_at, 0, s.planned) && (s.sink_saved || s.sink_rows == 0);
  require(ok, ErrorCode::kMismatch,
          "window state: expected counters of one sequence, found contradicting ones");
}

void check_open_rows(const PlannerState& s, const WindowOptions& o) {
  const bool beacons_allowed = o.enabled && o.placement == Placement::kInterleave && !o.forget;
  const bool chosen = o.attention == BeaconAttention::kChosenEcho;
  int64_t next = s.window_start;
  int64_t last_beacon = -1;
  for (const OpenRow& row : s.open) {
    bool ok = false;
    if (row.kind == SlotKind::kRaw) {
      ok = row.token == next && row.span_begin == row.token;
      ++next;
    } else if (row.kind == SlotKind::kBeacon) {
      // Chosen echoes stand together behind the last token of their stride.
      const int64_t stride_begin = next - o.stride;
      const bool placed = chosen ? (next - s.window_start) % o.stride == 0 && row.token >= stride_begin
                                 : row.token == next - 1;
      ok = beacons_allowed && placed && row.token < next && row.token > last_beacon &&
           in(row.span_begin, 0, row.token);
      last_beacon = row.token;
    }
    require(ok, ErrorCode::kMismatch,
            "window state: expected the tokens {} to {} in order, found another row", s.window_start,
            s.planned);
  }
  require(next == s.planned, ErrorCode::kMismatch,
          "window state: expected {} raw rows in the open window, found {}", s.planned - s.window_start,
          next - s.window_start);
}

}  // namespace

std::vector<uint8_t> to_bytes(const PlannerState& s) {
  std::vector<uint8_t> out(kMagic, kMagic + sizeof(kMagic));
  out.reserve(kHeaderBytes + s.ratios.size() * kRatioBytes + s.open.size() * kRowBytes);
  const uint64_t flags = (s.sink_saved ? 1u : 0u) | (s.frozen ? 2u : 0u) | (s.used_zero ? 4u : 0u);
  for (int64_t v : {s.fed, s.planned, s.window_start, s.next_block, s.count, s.span_begin, s.sink_rows,
                    s.beacon_rows, s.windows_closed})
    put(out, static_cast<uint64_t>(v), 8);
  put(out, flags, 8);
  put(out, static_cast<uint64_t>(s.frozen_at), 8);
  put(out, s.generator, 8);
  put(out, static_cast<uint64_t>(s.draws), 8);
  put(out, static_cast<uint64_t>(static_cast<int64_t>(s.chosen)), 8);
  put(out, s.ratios.size(), 8);
  put(out, s.open.size(), 8);
  for (int32_t r : s.ratios) put(out, static_cast<uint32_t>(r), kRatioBytes);
  for (const OpenRow& row : s.open) {
    put(out, static_cast<uint8_t>(row.kind), 1);
    put(out, static_cast<uint64_t>(row.token), 8);
    put(out, static_cast<uint64_t>(row.span_begin), 8);
  }
  return out;
}

PlannerState planner_state_from_bytes(const uint8_t* bytes, size_t size) {
  constexpr auto kBad = ErrorCode::kBadFile;
  require(size >= kHeaderBytes, kBad, "window state: expected at least {} bytes, found {}", kHeaderBytes,
          size);
  for (size_t i = 0; i < sizeof(kMagic); ++i)
    require(bytes[i] == kMagic[i], kBad,
            "window state: expected it to start with BPS1, found something else");
  const uint8_t* at = bytes + sizeof(kMagic);
  PlannerState s;
  for (int64_t* field : {&s.fed, &s.planned, &s.window_start, &s.next_block, &s.count, &s.span_begin,
                         &s.sink_rows, &s.beacon_rows, &s.windows_closed})
    *field = get_i64(at);
  const uint64_t flags = get(at, 8);
  require(flags <= 7, kBad, "window state: expected flags 0 to 7, found {}", flags);
  s.sink_saved = (flags & 1) != 0;
  s.frozen = (flags & 2) != 0;
  s.used_zero = (flags & 4) != 0;
  s.frozen_at = get_i64(at);
  s.generator = get(at, 8);
  s.draws = get_i64(at);
  const int64_t chosen = get_i64(at);
  require(in(chosen, -1, kMaxSequence), kBad, "window state: expected a ratio or -1, found {}", chosen);
  s.chosen = static_cast<int32_t>(chosen);
  const uint64_t num_ratios = get(at, 8);
  const uint64_t num_rows = get(at, 8);
  const uint64_t rest = size - kHeaderBytes;
  require(num_ratios <= rest / kRatioBytes && num_rows <= rest / kRowBytes &&
              num_ratios * kRatioBytes + num_rows * kRowBytes == rest,
          kBad, "window state: expected {} bytes for {} ratios and {} rows, found another size", rest,
          num_ratios, num_rows);
  s.ratios.resize(num_ratios);
  for (int32_t& r : s.ratios) r = static_cast<int32_t>(get(at, kRatioBytes));
  s.open.resize(num_rows);
  for (OpenRow& row : s.open) {
    const uint64_t kind = get(at, 1);
    require(kind <= 1, kBad, "window state: expected a raw or beacon row, found kind {}", kind);
    row.kind = static_cast<SlotKind>(kind);
    row.token = get_i64(at);
    row.span_begin = get_i64(at);
  }
  return s;
}

void check_state(const PlannerState& s, const WindowOptions& o) {
  check_counters(s);
  check_open_rows(s, o);
  if (!o.enabled) return;
  const int64_t raw = s.planned - s.window_start;
  const bool skipping = s.planned < o.skip_first;
  const bool done = s.frozen || (o.training && s.planned == s.fed);  // no window will be closed any more
  require(done || skipping || raw < o.window, ErrorCode::kMismatch,
          "window state: expected fewer raw rows than the window ({}), found {}", o.window, raw);
  const bool interleave = o.placement == Placement::kInterleave && !o.forget;
  const int64_t blocks = static_cast<int64_t>(s.ratios.size());
  require(blocks <= (interleave && !skipping ? raw : 0) && s.next_block == s.window_start + blocks * o.stride,
          ErrorCode::kMismatch, "window state: expected one ratio for each block begun, found {} ratios",
          blocks);
  require(done || skipping || !interleave || s.next_block >= s.planned, ErrorCode::kMismatch,
          "window state: expected a ratio for the block of token {}, found none", s.planned);
  for (int32_t r : s.ratios)
    require(in(r, 0, o.stride), ErrorCode::kMismatch,
            "window state: expected a ratio of 0 to the stride ({}), found {}", o.stride, r);
  require(in(s.chosen, -1, o.stride) && s.count < o.stride, ErrorCode::kMismatch,
          "window state: expected a ratio and remainder below the stride ({}), found {} and {}", o.stride,
          s.chosen, s.count);
}

PlannerState without_open_window(PlannerState s, int64_t sink_rows, int64_t beacon_rows) {
  s.fed = s.planned;
  s.window_start = s.next_block = s.span_begin = s.planned;
  s.count = 0;
  s.open.clear();
  s.ratios.clear();
  s.sink_rows = sink_rows;
  s.beacon_rows = beacon_rows;
  s.sink_saved = true;
  return s;
}

PlannerState shifted(PlannerState s, int64_t tokens_before, int64_t sink_rows, int64_t beacon_rows) {
  for (int64_t* token : {&s.fed, &s.planned, &s.window_start, &s.next_block, &s.span_begin, &s.frozen_at})
    *token += tokens_before;
  for (OpenRow& row : s.open) {
    row.token += tokens_before;
    row.span_begin += tokens_before;
  }
  s.sink_rows = sink_rows;
  s.beacon_rows = beacon_rows;
  s.sink_saved = s.sink_saved || tokens_before > 0 || sink_rows > 0;
  return s;
}

}  // namespace beacon
