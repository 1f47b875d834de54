#include "ops/machine_peak.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <vector>

#include "ops/device.h"
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

double measure_gemm_peak(bool bf16, const std::string& name) {
  const at::Device device = open_device(name);
  const int64_t rows = device.is_cpu() ? 1152 : 8192, size = device.is_cpu() ? 1536 : 8192;
  const auto options = at::TensorOptions(device).dtype(bf16 ? at::kBFloat16 : at::kFloat);
  // Ones would flatter a GPU, which clocks higher on them.
  const at::Tensor a = at::randn({rows, size}, options), b = at::randn({size, size}, options);
  at::Tensor out = at::empty({rows, size}, options);
  const double flops =
      2.0 * static_cast<double>(rows) * static_cast<double>(size) * static_cast<double>(size);
  return flops / median_seconds([&] {
           at::mm_out(out, a, b);
           synchronize(device);
         });
}

double measure_read_peak(const std::string& name) {
  const at::Device device = open_device(name);
  if (!device.is_cpu()) {
    const at::Tensor data = at::ones({256 << 20}, at::TensorOptions(device).dtype(at::kFloat));
    at::Tensor sum = at::empty({}, data.options());
    return 4.0 * static_cast<double>(data.numel()) / median_seconds([&] {
             at::sum_out(sum, data, at::IntArrayRef{0});
             synchronize(device);
           });
  }
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
