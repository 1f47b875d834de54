#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace beacon {

ScheduleKind schedule_from_string(const std::string& name) {
  for (const ScheduleKind kind : {ScheduleKind::kConstant, ScheduleKind::kLinear, ScheduleKind::kCosine}) {
    if (name == to_string(kind)) return kind;
  }
  fail(ErrorCode::kInvalidArgument, "schedule '{}' is not known; constant, linear or cosine was expected",
       name);
}

const char* to_string(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::kConstant:
      return "constant";
    case ScheduleKind::kLinear:
      return "linear";
    case ScheduleKind::kCosine:
      return "cosine";
  }
  return "unknown";
}

double Schedule::at(int64_t index) const {
  if (index < warmup) return peak * static_cast<double>(index + 1) / static_cast<double>(warmup);
  if (kind == ScheduleKind::kConstant) return peak;
  const auto falling = static_cast<double>(std::max<int64_t>(1, total - warmup));
  const double done = std::min(1.0, static_cast<double>(index - warmup) / falling);
  const double left =
      kind == ScheduleKind::kLinear ? 1.0 - done : 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return peak * (floor_share + (1.0 - floor_share) * left);
}

}  // namespace beacon
