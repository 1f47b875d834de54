#include "engine/log_probabilities.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "base/check.h"

namespace beacon {

void log_probabilities(const Transformer& net, const at::Tensor& hidden, std::span<const int32_t> targets,
                       std::span<float> out, TransformerScratch& scratch) {
  constexpr int64_t kRows = 128;
  const int64_t rows = hidden.size(0);
  BEACON_CHECK(static_cast<int64_t>(targets.size()) == rows && targets.size() == out.size());
  for (int64_t begin = 0; begin < rows; begin += kRows) {
    const int64_t count = std::min(kRows, rows - begin);
    const at::Tensor logits = net.logits(hidden.narrow(0, begin, count), scratch);
    const at::Tensor total = at::logsumexp(logits, {1});
    for (int64_t r = 0; r < count; ++r) {
      const auto row = static_cast<size_t>(begin + r);
      out[row] = logits.const_data_ptr<float>()[r * logits.size(1) + targets[row]] -
                 total.const_data_ptr<float>()[r];
    }
  }
}

}  // namespace beacon
