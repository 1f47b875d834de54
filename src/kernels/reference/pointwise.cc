// Norms, rotation, activations and row reductions.
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {

void rms_norm(const float* x, const float* weight, float* y, int64_t rows, int64_t cols, float eps) noexcept {
  for (int64_t r = 0; r < rows; ++r) {
    const float* in = x + r * cols;
    double squares = 0;
    for (int64_t i = 0; i < cols; ++i) squares += static_cast<double>(in[i]) * in[i];
    const double inverse = 1.0 / std::sqrt(squares / static_cast<double>(cols) + static_cast<double>(eps));
    for (int64_t i = 0; i < cols; ++i) y[r * cols + i] = static_cast<float>(in[i] * inverse * weight[i]);
  }
}

void add_rms_norm(const float* x, float* residual, const float* weight, float* y, int64_t rows, int64_t cols,
                  float eps) noexcept {
  for (int64_t i = 0; i < rows * cols; ++i) residual[i] += x[i];
  rms_norm(residual, weight, y, rows, cols, eps);
}

void rope(const RopeParams& p) noexcept {
  const int64_t half = p.head_dim / 2;
  for (int64_t r = 0; r < p.rows; ++r) {
    for (int64_t h = 0; h < p.heads; ++h) {
      const float* x = p.x + r * p.x_row_stride + h * p.x_head_stride;
      float* y = p.y + r * p.y_row_stride + h * p.y_head_stride;
      for (int64_t i = 0; i < half; ++i) {
        const double a = x[i];
        const double b = x[i + half];
        const double cos = p.cos[r * half + i];
        const double sin = p.sin[r * half + i];
        y[i] = static_cast<float>(a * cos - b * sin);
        y[i + half] = static_cast<float>(b * cos + a * sin);
      }
    }
  }
}

void exp_row(const float* x, float* y, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(std::exp(static_cast<double>(x[i])));
}

void silu(const float* x, float* y, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) {
    const double value = x[i];
    y[i] = static_cast<float>(value / (1.0 + std::exp(-value)));
  }
}

void swiglu(const float* gate, const float* up, float* out, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) {
    const double value = gate[i];
    out[i] = static_cast<float>(value / (1.0 + std::exp(-value)) * up[i]);
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
