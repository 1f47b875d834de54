#include "train/teacher.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "train/sequence_plan.h"
#include "train/tape.h"

namespace beacon {
namespace {

// Rows of one forward.
constexpr int64_t kRows = 1024;

class Collector : public TapeLoss {
 public:
  explicit Collector(const SequencePlan& plan) : plan_(plan) {}
  std::vector<int64_t> rows(size_t step) const override {
    std::vector<int64_t> all(plan_.steps[step].tokens.size());
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  at::Tensor loss(size_t, const at::Tensor& hidden) override {
    hidden_.push_back(hidden);
    return {};
  }
  at::Tensor joined() const { return at::cat(hidden_, 1); }

 private:
  const SequencePlan& plan_;
  std::vector<at::Tensor> hidden_;
};

}  // namespace

at::Tensor teacher_hidden(const RecordedNetwork& network, std::span<const int32_t> ids, int64_t batch,
                          int64_t max_positions) {
  const int64_t n = static_cast<int64_t>(ids.size()) / batch;
  const int64_t tokens = std::min(n, max_positions);
  std::vector<int32_t> head;
  for (int64_t b = 0; b < batch; ++b) {
    const auto row = ids.subspan(static_cast<size_t>(b * n), static_cast<size_t>(tokens));
    head.insert(head.end(), row.begin(), row.end());
  }
  WindowOptions options;
  options.enabled = false;
  options.training = true;
  options.window = options.stride = kRows;
  const SequencePlan plan = plan_sequence(options, tokens);
  Collector collector(plan);
  Tape(network, plan, head, {}).evaluate(collector);
  return collector.joined();
}

}  // namespace beacon
