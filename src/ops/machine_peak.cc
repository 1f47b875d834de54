#include "ops/machine_peak.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <vector>

#include "ops/parallel.h"

namespace beacon::ops {
namespace {

constexpr int kRuns = 7;

// Median of the seconds that `work` takes, after one run to warm up.
double median_seconds(const std::function<void()>& work) {
  std::vector<double> seconds;
  work();
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + kRuns / 2, seconds.end());
  return seconds[kRuns / 2];
}

}  // namespace

double measure_gemm_peak(bool bf16) {
  constexpr int64_t kRows = 1152, kSize = 1536;
  const auto type = bf16 ? at::kBFloat16 : at::kFloat;
  const at::Tensor a = at::ones({kRows, kSize}, type), b = at::ones({kSize, kSize}, type);
  at::Tensor out = at::empty({kRows, kSize}, type);
  return 2.0 * kRows * kSize * kSize / median_seconds([&] { at::mm_out(out, a, b); });
}

double measure_read_peak() {
  constexpr int64_t kWords = 32 << 20;  // of 8 bytes
  const at::Tensor data = at::ones({kWords}, at::kLong);
  const auto* words = data.const_data_ptr<int64_t>();
  std::atomic<int64_t> sum{0};  // kept, or the reading could be left out
  const double seconds = median_seconds([&] {
    parallel_for(kWords, 1 << 16, [&](int64_t begin, int64_t end) {
      int64_t own[8] = {};
      for (int64_t i = begin; i + 8 <= end; i += 8) {
        for (int64_t j = 0; j < 8; ++j) own[j] += words[i + j];
      }
      for (const int64_t s : own) sum += s;
    });
  });
  return 8.0 * kWords / seconds;
}

}  // namespace beacon::ops
