#pragma once
// The learning rate of each update.
#include <cstdint>
#include <string>

namespace beacon {

enum class ScheduleKind : uint8_t { kConstant, kLinear, kCosine };
// Throws kInvalidArgument with the list of kinds.
ScheduleKind schedule_from_string(const std::string& name);
const char* to_string(ScheduleKind kind);

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double peak = 1e-3;        // learning rate after the warm-up
  int64_t warmup = 0;        // updates over which it rises to the peak, linearly from peak / warmup
  int64_t total = 0;         // updates in all; linear and cosine end at `floor` of the peak after the last
  double floor_share = 0.0;  // 0..1

  // Of update `index`, counted from 0. Past the end it stays where it ended.
  double at(int64_t index) const;
};

}  // namespace beacon
