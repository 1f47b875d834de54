#include "plan_view.h"

#include <algorithm>
#include <stdexcept>

namespace beacon::testing {
namespace {

void expect(bool condition, const char* what) {
  if (!condition) throw std::logic_error(what);
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const RowId& id) {
  return out << (id.beacon ? "b" : "x") << id.index;
}

std::ostream& operator<<(std::ostream& out, const SeenKey& key) {
  return out << key.id << "@" << key.position;
}

std::ostream& operator<<(std::ostream& out, const RowView& row) {
  out << row.id << "@" << row.position << " sees";
  for (const SeenKey& key : row.sees) out << " " << key;
  return out;
}

std::ostream& operator<<(std::ostream& out, const MemoryView& memory) {
  for (const auto* part : {&memory.sink, &memory.beacons, &memory.open}) {
    out << "[";
    for (const RowId& id : *part) out << " " << id;
    out << " ]";
  }
  for (const Span& span : memory.beacon_spans) out << " " << span.begin << "-" << span.end;
  return out;
}

std::vector<RowView> PlanRecorder::apply(const Step& step) {
  const size_t num_new = step.slots.size();
  expect(step.token_begin == tokens_ && step.token_end >= tokens_,
         "a step does not go on where the last one ended");
  expect(step.sink_rows == static_cast<int64_t>(memory_.sink.size()), "sink rows");
  expect(step.beacon_rows == static_cast<int64_t>(memory_.beacons.size()), "beacon rows");
  expect(step.cached_rows == static_cast<int64_t>(memory_.open.size()), "cached rows");
  expect(step.positions.size() == num_new, "one position a row");
  expect(step.copy_from.empty() || step.copy_from.size() == num_new, "one source a row");
  expect(step.cached_positions.empty() || step.cached_positions.size() == memory_.open.size(),
         "cached positions");

  // What was rotated at a close must be what the next step takes it for.
  if (kept_positions_) expect(step.cached_positions == *kept_positions_, "kept positions");
  kept_positions_.reset();

  std::vector<SeenKey> keys;
  for (const auto* part : {&memory_.sink, &memory_.beacons, &memory_.open})
    for (const RowId& id : *part) keys.push_back({id, static_cast<int64_t>(keys.size())});
  const size_t memory = keys.size();
  for (size_t i = 0; i < step.cached_positions.size(); ++i)
    keys[memory - memory_.open.size() + i].position = step.cached_positions[i];

  for (size_t i = 0; i < num_new; ++i) {
    const int32_t source = step.copy_from.empty() ? -1 : step.copy_from[i];
    expect((step.slots[i] == SlotKind::kReplica) == (source >= 0),
           "a replica has a source, no other row does");
    expect(source < static_cast<int32_t>(i), "a replica comes after its source");
    RowId id;
    if (source >= 0)
      id = keys[memory + static_cast<size_t>(source)].id;
    else if (step.slots[i] == SlotKind::kBeacon)
      id = {true, beacons_++};
    else
      id = {false, tokens_++};
    keys.push_back({id, step.positions[i]});
  }
  expect(tokens_ == step.token_end, "a step holds each of its tokens once");
  const size_t width = keys.size();
  expect(step.causal ? step.mask.empty() : step.mask.size() == num_new * width, "mask size");

  std::vector<RowView> rows;
  for (size_t i = 0; i < num_new; ++i) {
    if (step.slots[i] == SlotKind::kReplica) continue;
    RowView row{keys[memory + i].id, keys[memory + i].position, {}};
    for (size_t k = 0; k < width; ++k)
      if (step.causal ? k <= memory + i : step.mask[i * width + k] != 0) row.sees.push_back(keys[k]);
    std::sort(row.sees.begin(), row.sees.end());
    rows.push_back(std::move(row));
  }

  std::vector<RowId> open = memory_.open;
  for (size_t i = memory; i < width; ++i) open.push_back(keys[i].id);
  if (step.close.closes)
    close(step.close, open);
  else
    memory_.open = std::move(open);
  return rows;
}

void PlanRecorder::close(const Close& close, const std::vector<RowId>& open) {
  expect(close.beacons.size() == close.beacon_spans.size(), "one span a beacon");
  expect(close.keep_positions.empty() || close.keep_positions.size() == close.keep.size(), "kept positions");
  kept_positions_ = close.keep_positions;
  for (int32_t i : close.sink) memory_.sink.push_back(open.at(static_cast<size_t>(i)));
  for (int32_t i : close.beacons) memory_.beacons.push_back(open.at(static_cast<size_t>(i)));
  memory_.beacon_spans.insert(memory_.beacon_spans.end(), close.beacon_spans.begin(),
                              close.beacon_spans.end());
  memory_.open.clear();
  for (int32_t i : close.keep) memory_.open.push_back(open.at(static_cast<size_t>(i)));
  windows_.insert(windows_.end(), close.windows.begin(), close.windows.end());
}

}  // namespace beacon::testing
