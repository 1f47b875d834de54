#pragma once
// What two plans must share to be the same: every row of the text with its position, the keys it sees and
// their positions, and the memory. It does not matter in which steps rows were computed; a replica counts as
// the row it repeats.
#include <cstdint>
#include <ostream>
#include <vector>

#include "window/step.h"

namespace beacon::testing {

struct RowId {
  bool beacon = false;
  int64_t index = 0;  // raw: the token; beacon: how many beacons were inserted before it in the sequence
  auto operator<=>(const RowId&) const = default;
};
std::ostream& operator<<(std::ostream& out, const RowId& id);

struct SeenKey {
  RowId id;
  int64_t position = 0;
  auto operator<=>(const SeenKey&) const = default;
};
std::ostream& operator<<(std::ostream& out, const SeenKey& key);

struct RowView {
  RowId id;
  int64_t position = 0;
  std::vector<SeenKey> sees;  // sorted, itself included
  bool operator==(const RowView&) const = default;
};
std::ostream& operator<<(std::ostream& out, const RowView& row);

struct MemoryView {
  std::vector<RowId> sink, beacons, open;
  std::vector<Span> beacon_spans;  // of `beacons`
  bool operator==(const MemoryView&) const = default;
};
std::ostream& operator<<(std::ostream& out, const MemoryView& memory);

// Applies steps as the engine does, to identities in place of tensors. Throws std::logic_error when a step
// contradicts the memory before it or itself.
class PlanRecorder {
 public:
  // Returns the raw and beacon rows of the step in order.
  std::vector<RowView> apply(const Step& step);

  const MemoryView& memory() const { return memory_; }
  const std::vector<WindowRecord>& windows() const { return windows_; }
  int64_t num_tokens() const { return tokens_; }
  int64_t num_beacons() const { return beacons_; }

 private:
  void close(const Close& close, const std::vector<RowId>& open);

  MemoryView memory_;
  std::vector<WindowRecord> windows_;
  std::optional<std::vector<int32_t>> kept_positions_;  // after a close
  int64_t tokens_ = 0;
  int64_t beacons_ = 0;
};

}  // namespace beacon::testing
