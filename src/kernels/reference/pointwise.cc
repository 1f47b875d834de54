// Pointwise functions and row reductions.
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {

void exp_row(const float* x, float* y, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(std::exp(static_cast<double>(x[i])));
}

void silu(const float* x, float* y, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) {
    const double value = x[i];
    y[i] = static_cast<float>(value / (1.0 + std::exp(-value)));
  }
}

void softmax_row(const float* x, float* y, int64_t n) noexcept {
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  const double shift = std::isinf(largest) && largest < 0 ? 0.0 : largest;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(x[i] - shift);
  for (int64_t i = 0; i < n; ++i) y[i] = sum == 0 ? 0.0F : static_cast<float>(std::exp(x[i] - shift) / sum);
}

int64_t argmax(const float* x, int64_t n) noexcept {
  int64_t best = -1;
  for (int64_t i = 0; i < n; ++i) {
    if (!std::isnan(x[i]) && (best < 0 || x[i] > x[best])) best = i;
  }
  return best < 0 ? 0 : best;
}

}  // namespace beacon::kernels::reference
