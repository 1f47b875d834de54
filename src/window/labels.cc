#include "window/labels.h"

#include <algorithm>

#include "base/check.h"

namespace beacon {

int64_t unscored_rows(const WindowOptions& options) {
  if (!options.training || !options.enabled || options.generation == Generation::kFirst) return 0;
  if (options.placement == Placement::kInterleave && options.attention == BeaconAttention::kFullCoverage)
    return 0;
  return options.skip_first > 0 ? options.skip_first : options.window;
}

std::vector<uint8_t> scored(const WindowOptions& options, int64_t num_tokens) {
  require(num_tokens >= 0, ErrorCode::kInvalidArgument, "labels: expected 0 tokens or more, found {}",
          num_tokens);
  std::vector<uint8_t> out(static_cast<size_t>(num_tokens), 1);
  std::fill_n(out.begin(), std::min(num_tokens, unscored_rows(options)), 0);
  if (!out.empty()) out.back() = 0;
  return out;
}

std::vector<int32_t> shifted_labels(const WindowOptions& options, const std::vector<int32_t>& labels) {
  const auto counts = scored(options, static_cast<int64_t>(labels.size()));
  std::vector<int32_t> out(labels.size(), kIgnoredLabel);
  for (size_t t = 0; t + 1 < labels.size(); ++t)
    if (counts[t] != 0) out[t] = labels[t + 1];
  return out;
}

}  // namespace beacon
