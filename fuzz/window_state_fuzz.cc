// Planner states, as memory files hold them. Whatever is accepted must be written back the same, and a
// planner that goes on from it must give steps that agree with the memory they are for.
#include <beacon/error.h>

#include <algorithm>
#include <cstdlib>

#include "window/planner.h"

namespace {

void run(const beacon::WindowOptions& options, const beacon::PlannerState& state) {
  beacon::Planner planner(options, state);
  planner.discard_pending();
  if (!options.training) planner.feed(20);
  while (const auto step = planner.next()) {
    if (step->positions.size() != step->slots.size()) std::abort();
    const int64_t open = step->cached_rows + step->num_rows();
    for (const auto* rows : {&step->close.sink, &step->close.beacons, &step->close.keep})
      for (int32_t row : *rows)
        if (row < 0 || row >= open) std::abort();
    for (int32_t position : step->positions)
      if (position < 0) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  beacon::PlannerState state;
  try {
    state = beacon::planner_state_from_bytes(bytes, size);
  } catch (const beacon::Error&) {
    return 0;
  }
  const auto copy = beacon::to_bytes(state);
  if (copy.size() != size || !std::equal(copy.begin(), copy.end(), bytes)) std::abort();
  for (int variant = 0; variant < 4; ++variant) {
    beacon::WindowOptions options;
    options.window = 6;
    options.stride = variant < 2 ? 4 : 6;
    options.ratio.ratios = {1, 2};
    options.sink = variant < 2 ? 1 : 0;
    options.placement = variant % 2 == 0 ? beacon::Placement::kInterleave : beacon::Placement::kAppend;
    if (variant >= 2) options.skip_first = 3;
    try {
      run(options, state);
    } catch (const beacon::Error& error) {
      if (error.code() == beacon::ErrorCode::kInternal) std::abort();
    }
  }
  return 0;
}
