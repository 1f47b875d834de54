#include "engine/log_probabilities.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "ops/device.h"

namespace beacon {

void log_probabilities(const Transformer& net, const at::Tensor& hidden, std::span<const int32_t> targets,
                       std::span<float> out, TransformerScratch& scratch) {
  constexpr int64_t kRows = 128;
  const int64_t rows = hidden.size(0);
  BEACON_CHECK(static_cast<int64_t>(targets.size()) == rows && targets.size() == out.size());
  for (int64_t begin = 0; begin < rows; begin += kRows) {
    const int64_t count = std::min(kRows, rows - begin);
    const at::Tensor logits = net.logits(hidden.narrow(0, begin, count), scratch);
    const auto first = static_cast<size_t>(begin), chosen_rows = static_cast<size_t>(count);
    const auto wanted = targets.subspan(first, chosen_rows);
    const at::Tensor ids =
        ops::index_on(logits.device(), std::vector<int64_t>(wanted.begin(), wanted.end())).unsqueeze(1);
    const at::Tensor chosen = (logits.gather(1, ids).squeeze(1) - at::logsumexp(logits, {1})).cpu();
    std::copy_n(chosen.const_data_ptr<float>(), chosen_rows, out.begin() + begin);
  }
}

}  // namespace beacon
