#include "train/data/token_worth.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "window/labels.h"

namespace beacon::train {

std::vector<float> token_worth(const Dataset& data, int64_t vocabulary) {
  constexpr double kPrior = 10;  // readings that the mean counts for
  std::vector<double> seen(static_cast<size_t>(vocabulary)), learnt(static_cast<size_t>(vocabulary));
  double all_seen = 0, all_learnt = 0;
  for (int64_t i = 0; i < data.size(); ++i) {
    const Sample sample = data.at(i);
    const auto ignored = std::count(sample.labels.begin(), sample.labels.end(), kIgnoredLabel);
    if (ignored <= 1) continue;  // prose: everything is learnt, but for a first token
    for (size_t t = 0; t < sample.ids.size(); ++t) {
      const auto id = static_cast<size_t>(sample.ids[t]);
      const double is_learnt = sample.labels[t] == kIgnoredLabel ? 0 : 1;
      seen[id] += 1;
      learnt[id] += is_learnt;
      all_seen += 1;
      all_learnt += is_learnt;
    }
  }
  require(all_seen > 0, ErrorCode::kInvalidArgument,
          "attention chosen-echo: expected samples with questions, whose answers tell what a token is worth, "
          "found prose alone; add such samples, or start from an adapter with chosen echoes");
  std::vector<float> worth;
  for (size_t id = 0; id < seen.size(); ++id) {
    worth.push_back(static_cast<float>((learnt[id] + kPrior * all_learnt / all_seen) / (seen[id] + kPrior)));
  }
  return worth;
}

}  // namespace beacon::train
