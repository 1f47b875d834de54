// Pointwise functions and row reductions.
#include "kernels/cpu/exp.h"
#include "kernels/cpu/functions.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

constexpr float kInfinity = __builtin_inff();

// y[i] = f(x[i]...) for whole vectors and, padded with zeros, for the rest.
template <typename F>
BEACON_INLINE void map(const float* x, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(x + i)));
  if (i < n) store_part(y + i, f(load_part(x + i, n - i, 0)), n - i);
}

BEACON_INLINE VF silu_of(VF x) { return x / (1.0F + exp_full(-x)); }

float largest_of(const float* x, int64_t n) {
  VF best = broadcast(-kInfinity);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) best = larger(load(x + i), best);
  if (i < n) best = larger(load_part(x + i, n - i, -kInfinity), best);
  return largest_lane(best);
}

}  // namespace

void exp_row(const float* x, float* y, int64_t n) noexcept {
  map(x, y, n, [](VF v) { return exp_full(v); });
}

void silu(const float* x, float* y, int64_t n) noexcept {
  map(x, y, n, [](VF v) { return silu_of(v); });
}

void softmax_row(const float* x, float* y, int64_t n) noexcept {
  const float largest = largest_of(x, n);
  const float shift = largest == -kInfinity ? 0.0F : largest;
  VF sums = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const VF e = exp_nonpositive(load(x + i) - shift);
    store(y + i, e);
    sums = sums + e;
  }
  if (i < n) {
    const VF e = exp_nonpositive(load_part(x + i, n - i, -kInfinity) - shift);
    store_part(y + i, e, n - i);
    sums = sums + e;
  }
  const float sum = sum_lanes(sums);
  const float inverse = sum == 0.0F ? 0.0F : 1.0F / sum;
  map(y, y, n, [=](VF e) { return e * inverse; });
}

int64_t argmax(const float* x, int64_t n) noexcept {
  const float largest = largest_of(x, n);
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] == largest) return i;
  }
  return 0;
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
