#include "train/micro_batch.h"

#include <algorithm>

#include "base/check.h"
#include "window/capacity.h"
#include "window/labels.h"

namespace beacon {

MicroBatch make_batch(const WindowOptions& options, const std::vector<train::Sample>& samples) {
  BEACON_CHECK(!samples.empty());
  MicroBatch out;
  out.batch = static_cast<int64_t>(samples.size());
  for (const train::Sample& sample : samples) {
    out.num_tokens = std::max(out.num_tokens, static_cast<int64_t>(sample.ids.size()));
  }
  const int64_t windows = num_strides(options, out.num_tokens);
  for (const train::Sample& sample : samples) {
    const auto length = static_cast<int64_t>(sample.ids.size());
    require(num_strides(options, length) == windows, ErrorCode::kInvalidArgument,
            "a batch of samples of {} and {} tokens: equally many windows were expected; set "
            "grouping to strides, or batch to 1",
            out.num_tokens, length);
    std::vector<int32_t> ids = sample.ids, labels = sample.labels;
    ids.resize(static_cast<size_t>(out.num_tokens), sample.ids.back());
    labels.resize(static_cast<size_t>(out.num_tokens), kIgnoredLabel);
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    out.labels.push_back(shifted_labels(options, labels));
    out.num_labels +=
        out.num_tokens - std::count(out.labels.back().begin(), out.labels.back().end(), kIgnoredLabel);
    out.num_sample_tokens += length;
  }
  return out;
}

}  // namespace beacon
