// Norms, rotation, activations and row reductions.
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

template <typename F>
BEACON_INLINE void map(const float* a, const float* b, float* y, int64_t n, F f) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, f(load(a + i), load(b + i)));
  if (i < n) store_part(y + i, f(load_part(a + i, n - i, 0), load_part(b + i, n - i, 0)), n - i);
}

float sum_of_squares(const float* x, int64_t n) {
  VF a = {};
  VF b = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const VF first = load(x + i);
    const VF second = load(x + i + kLanes);
    a = multiply_add(first, first, a);
    b = multiply_add(second, second, b);
  }
  for (; i < n; i += kLanes) {
    const VF rest = n - i < kLanes ? load_part(x + i, n - i, 0) : load(x + i);
    a = multiply_add(rest, rest, a);
  }
  return sum_lanes(a + b);
}

void norm_row(const float* x, const float* weight, float* y, int64_t cols, float eps) {
  const float mean = sum_of_squares(x, cols) / static_cast<float>(cols);
  const float inverse = 1.0F / __builtin_sqrtf(mean + eps);
  map(x, weight, y, cols, [=](VF value, VF w) { return value * inverse * w; });
}

BEACON_INLINE VF silu_of(VF x) { return x / (1.0F + exp_full(-x)); }

void rope_head(const float* x, float* y, const float* cos, const float* sin, int64_t half) {
  int64_t i = 0;
  for (; i < half; i += kLanes) {
    const int64_t n = half - i < kLanes ? half - i : kLanes;
    const bool whole = n == kLanes;
    const VF a = whole ? load(x + i) : load_part(x + i, n, 0);
    const VF b = whole ? load(x + half + i) : load_part(x + half + i, n, 0);
    const VF c = whole ? load(cos + i) : load_part(cos + i, n, 0);
    const VF s = whole ? load(sin + i) : load_part(sin + i, n, 0);
    const VF first = a * c - b * s;
    const VF second = b * c + a * s;
    if (whole) {
      store(y + i, first);
      store(y + half + i, second);
    } else {
      store_part(y + i, first, n);
      store_part(y + half + i, second, n);
    }
  }
}

float largest_of(const float* x, int64_t n) {
  VF best = broadcast(-kInfinity);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) best = larger(load(x + i), best);
  if (i < n) best = larger(load_part(x + i, n - i, -kInfinity), best);
  return largest_lane(best);
}

}  // namespace

void rms_norm(const float* x, const float* weight, float* y, int64_t rows, int64_t cols, float eps) noexcept {
  for (int64_t r = 0; r < rows; ++r) norm_row(x + r * cols, weight, y + r * cols, cols, eps);
}

void add_rms_norm(const float* x, float* residual, const float* weight, float* y, int64_t rows, int64_t cols,
                  float eps) noexcept {
  for (int64_t r = 0; r < rows; ++r) {
    float* sum = residual + r * cols;
    map(x + r * cols, sum, sum, cols, [](VF a, VF b) { return a + b; });
    norm_row(sum, weight, y + r * cols, cols, eps);
  }
}

void rope(const RopeParams& p) noexcept {
  const int64_t half = p.head_dim / 2;
  for (int64_t r = 0; r < p.rows; ++r) {
    for (int64_t h = 0; h < p.heads; ++h) {
      rope_head(p.x + r * p.x_row_stride + h * p.x_head_stride,
                p.y + r * p.y_row_stride + h * p.y_head_stride, p.cos + r * half, p.sin + r * half, half);
    }
  }
}

void exp_row(const float* x, float* y, int64_t n) noexcept {
  map(x, y, n, [](VF v) { return exp_full(v); });
}

void silu(const float* x, float* y, int64_t n) noexcept {
  map(x, y, n, [](VF v) { return silu_of(v); });
}

void swiglu(const float* gate, const float* up, float* out, int64_t n) noexcept {
  map(gate, up, out, n, [](VF g, VF u) { return silu_of(g) * u; });
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
