#include "window/layout.h"

#include <algorithm>

namespace beacon {
namespace {

// Interleaved beacons that are invisible to others share the position of a raw token, so that raw positions
// run on without gaps: of the next one in step-expansion, of the one they follow as echoes.
bool shares_next_position(const WindowOptions& options) {
  return options.placement == Placement::kInterleave && options.attention == BeaconAttention::kStepExpansion;
}

int64_t next_position(const Layout& layout, const WindowOptions& options, int64_t token) {
  const int64_t start = layout.parts.back().memory_rows;
  const int32_t window = static_cast<int32_t>(layout.parts.size()) - 1;
  if (layout.rows.empty()) return start;
  const Row& last = layout.rows.back();
  if (last.window != window || last.kind == SlotKind::kReplica) return start;
  // Positions run with the tokens, and an echo stands where its token stands.
  if (is_echo(options.attention)) return last.position + token - last.token;
  const bool shared = last.kind == SlotKind::kBeacon && shares_next_position(options);
  return last.position + (shared ? 0 : 1);
}

Row& add_row(Layout& layout, SlotKind kind, int64_t token, int64_t span_begin, int64_t position) {
  Row& row = layout.rows.emplace_back();
  row.kind = kind;
  row.token = token;
  row.span_begin = span_begin;
  row.position = static_cast<int32_t>(position);
  row.window = static_cast<int32_t>(layout.parts.size()) - 1;
  return row;
}

int64_t appended_position(const Layout& layout, const WindowOptions& options, int ratio, int64_t i,
                          int64_t end) {
  const bool first = options.generation == Generation::kFirst;
  const int64_t memory = layout.parts.back().memory_rows;
  const int64_t step = !first && options.attend_prev ? i : 0;
  switch (options.attention) {
    case BeaconAttention::kStepExpansion:
      return memory + end + step;
    case BeaconAttention::kSegmentation:
      return memory + ratio + step;
    case BeaconAttention::kFullCoverage:
    case BeaconAttention::kEcho:  // never appended
    case BeaconAttention::kChosenEcho:
      break;
  }
  return memory + options.window + (first ? 0 : i);
}

}  // namespace

void add_cached_rows(Layout& layout, const PlannerState& state, const WindowOptions& options) {
  layout.rows.reserve(state.open.size());
  for (const OpenRow& row : state.open)
    add_row(layout, row.kind, row.token, row.span_begin, next_position(layout, options, row.token));
  layout.cached_rows = static_cast<int64_t>(layout.rows.size());
}

void add_raw(Layout& layout, const WindowOptions& options, int64_t token) {
  add_row(layout, SlotKind::kRaw, token, token, next_position(layout, options, token));
}

void add_interleaved_beacon(Layout& layout, const WindowOptions& options, int64_t token, int64_t span_begin) {
  add_row(layout, SlotKind::kBeacon, token, span_begin, next_position(layout, options, token));
}

void add_appended_beacons(Layout& layout, const WindowOptions& options, int ratio) {
  const int64_t start = layout.parts.back().start;
  const int64_t num_beacons = ratio == 0 ? 0 : options.stride / ratio;
  for (int64_t i = 0; i < num_beacons; ++i) {
    const int64_t begin = i * ratio;
    const int64_t end = i + 1 == num_beacons ? options.stride : begin + ratio;
    add_row(layout, SlotKind::kBeacon, start + end - 1, start + begin,
            appended_position(layout, options, ratio, i, end));
  }
}

void add_replicas(Layout& layout, const WindowOptions& options, int64_t new_sink) {
  const int32_t window = static_cast<int32_t>(layout.parts.size()) - 1;
  const size_t num_rows = layout.rows.size();
  std::vector<int32_t> sources;  // indexes into rows, in the order of the memory they stand for
  int64_t position = layout.parts.back().memory_rows;
  if (window == 0 && new_sink > 0) {
    bool in_place = true;
    for (size_t i = 0, sinks = 0; static_cast<int64_t>(sinks) < new_sink; ++i) {
      if (layout.rows[i].kind != SlotKind::kRaw) continue;
      in_place = in_place && layout.rows[i].position == layout.sink_rows + static_cast<int64_t>(sinks);
      sources.push_back(static_cast<int32_t>(i));
      ++sinks;
    }
    // The sink comes before all beacons; at the first close there are none yet.
    if (in_place) {
      layout.direct_sink = new_sink;
      sources.clear();
      position += new_sink;
    }
  }
  for (size_t i = 0; i < num_rows; ++i)
    if (layout.rows[i].window == window && layout.rows[i].kind == SlotKind::kBeacon)
      sources.push_back(static_cast<int32_t>(i));
  layout.parts.push_back({layout.parts.back().start + options.stride, 0, -1});
  for (int32_t source : sources) {
    const OpenRow from{SlotKind::kReplica, layout.rows[source].token, layout.rows[source].span_begin};
    Row& row = add_row(layout, SlotKind::kReplica, from.token, from.span_begin, position++);
    row.copy_from = source - static_cast<int32_t>(layout.cached_rows);
  }
  layout.parts.back().memory_rows = position;
}

void close_windows(Layout& layout, const WindowOptions& options, int64_t new_sink) {
  Close& close = layout.close;
  close.closes = true;
  const int64_t sink_end = layout.parts.front().start + new_sink;
  for (const WindowPart& part : layout.parts)
    close.windows.push_back({{part.start, part.start + options.stride}, part.ratio, 0});
  for (size_t i = 0; i < layout.rows.size(); ++i) {
    const Row& row = layout.rows[i];
    if (row.kind == SlotKind::kReplica) continue;
    const bool raw = row.kind == SlotKind::kRaw;
    const bool to_sink = raw && row.token < sink_end;
    WindowRecord& record = close.windows[static_cast<size_t>(row.window)];
    const int32_t index = static_cast<int32_t>(i);
    if (to_sink) close.sink.push_back(index);
    if (row.token >= record.tokens.end) {
      close.keep.push_back(index);
    } else if (!raw || (record.ratio == 0 && !to_sink)) {
      close.beacons.push_back(index);
      close.beacon_spans.push_back({row.span_begin, row.token + 1});
      ++record.num_beacons;
    }
  }
  // What follows the last chosen token of a stride is told by that echo, if by any.
  if (options.attention == BeaconAttention::kChosenEcho && !close.beacon_spans.empty())
    close.beacon_spans.back().end = close.windows.back().tokens.end;
}

}  // namespace beacon
