#include "window/visibility.h"

#include <algorithm>
#include <optional>

namespace beacon {
namespace {

// A beacon appended to its window: query and key stand in the same window.
bool appended_beacon_sees(const WindowOptions& options, const Row& query, const Row& key) {
  if (key.kind == SlotKind::kBeacon) {
    if (options.generation == Generation::kFirst) return false;
    return options.attend_prev || options.attention == BeaconAttention::kFullCoverage;
  }
  if (options.attention == BeaconAttention::kFullCoverage) return true;
  // query.token is the last token of the beacon's own interval.
  if (key.token > query.token) return false;
  return options.attention == BeaconAttention::kStepExpansion || key.token >= query.span_begin;
}

// query comes after key in [cached | new].
bool sees_earlier_row(const Layout& layout, const WindowOptions& options, const Row& query, const Row& key) {
  if (key.kind == SlotKind::kReplica) return true;
  if (query.kind == SlotKind::kReplica || query.window != key.window)
    return key.window == 0 && key.kind == SlotKind::kRaw &&
           key.token < layout.parts.front().start + layout.direct_sink;
  if (is_echo(options.attention))
    return key.kind == SlotKind::kRaw && (query.kind == SlotKind::kRaw || key.token <= query.token);
  if (options.placement == Placement::kInterleave)
    return key.kind == SlotKind::kRaw || options.attention == BeaconAttention::kFullCoverage;
  return query.kind == SlotKind::kRaw || appended_beacon_sees(options, query, key);
}

bool sees_memory(const WindowOptions& options, const Row& query) {
  return options.attend_previous_windows || query.kind != SlotKind::kBeacon;
}

}  // namespace

bool is_causal(const Layout& layout, const WindowOptions& options) {
  if (layout.parts.size() > 1) return false;
  if (is_plain_causal(options)) return true;
  return std::none_of(layout.rows.begin(), layout.rows.end(),
                      [](const Row& r) { return r.kind == SlotKind::kBeacon; });
}

std::vector<uint8_t> build_mask(const Layout& layout, const WindowOptions& options) {
  const size_t memory = static_cast<size_t>(layout.memory_rows());
  const size_t cached = static_cast<size_t>(layout.cached_rows);
  const size_t num_new = layout.rows.size() - cached;
  const size_t width = memory + layout.rows.size();
  std::vector<uint8_t> mask(num_new * width, 0);
  std::optional<size_t> raw;  // the last new row of a raw token
  for (size_t i = 0; i < num_new; ++i) {
    uint8_t* out = mask.data() + i * width;
    const Row& query = layout.rows[cached + i];
    std::fill_n(out, memory, sees_memory(options, query) ? 1 : 0);
    size_t first = 0;
    // Of the raw tokens of a window each sees what the one before saw, and that one: most pairs need no rule.
    if (query.kind == SlotKind::kRaw && raw && layout.rows[cached + *raw].window == query.window) {
      first = cached + *raw + 1;
      std::copy_n(mask.data() + *raw * width + memory, first, out + memory);
    }
    for (size_t k = first; k < cached + i; ++k)
      out[memory + k] = sees_earlier_row(layout, options, query, layout.rows[k]) ? 1 : 0;
    out[memory + cached + i] = 1;
    if (query.kind == SlotKind::kRaw) raw = i;
  }
  return mask;
}

}  // namespace beacon
