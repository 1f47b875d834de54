#include "train/micro_batch.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "window/capacity.h"
#include "window/labels.h"

namespace beacon {
namespace {

// Gives the last sequence labels where it has none but its sample goes on.
void score_what_is_read(const WindowOptions& options, const train::Sample& sample, double read_weight,
                        MicroBatch& batch) {
  std::vector<int32_t> all = sample.ids;
  all.resize(static_cast<size_t>(batch.num_tokens), kIgnoredLabel);
  std::vector<int32_t>& labels = batch.labels.back();
  std::vector<float>& weights = batch.weights.emplace_back(labels.size(), 1.0F);
  all = shifted_labels(options, all);
  for (size_t t = 0; t < labels.size(); ++t) {
    if (labels[t] == kIgnoredLabel) weights[t] = static_cast<float>(read_weight);
  }
  labels = std::move(all);
}

}  // namespace

MicroBatch make_batch(const WindowOptions& options, const std::vector<train::Sample>& samples,
                      double read_weight) {
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
    if (read_weight > 0) score_what_is_read(options, sample, read_weight, out);
    out.num_labels +=
        out.num_tokens - std::count(out.labels.back().begin(), out.labels.back().end(), kIgnoredLabel);
    out.num_sample_tokens += length;
  }
  return out;
}

}  // namespace beacon
