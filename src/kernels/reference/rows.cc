// Norm, feed-forward gate, rotation and losses of rows by their definitions.
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {
namespace {

double read(DType type, const void* data, int64_t i) {
  if (type == DType::kBF16) return bf16_to_f32_one(static_cast<const uint16_t*>(data)[i]);
  return static_cast<const float*>(data)[i];
}

void write(DType type, void* data, int64_t i, double value) {
  const auto rounded = static_cast<float>(value);
  if (type == DType::kBF16) {
    static_cast<uint16_t*>(data)[i] = f32_to_bf16_one(rounded);
  } else {
    static_cast<float*>(data)[i] = rounded;
  }
}

double inverse_size(const NormRows& p, int64_t row) {
  double squares = 0;
  for (int64_t i = 0; i < p.cols; ++i) {
    const double value = read(p.x_type, p.x, row * p.cols + i);
    squares += value * value;
  }
  return 1.0 / std::sqrt(squares / static_cast<double>(p.cols) + static_cast<double>(p.eps));
}

double log_sum_exp(DType type, const void* data, int64_t first, int64_t n) {
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < n; ++i) largest = std::fmax(largest, read(type, data, first + i));
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(read(type, data, first + i) - largest);
  return largest + std::log(sum);
}

}  // namespace

void rms_norm_forward(const NormRows& given, int64_t begin, int64_t end) noexcept {
  NormRows p = given;
  if (p.branch != nullptr) {
    for (int64_t i = begin * p.cols; i < end * p.cols; ++i)
      p.sum[i] = static_cast<float>(read(p.x_type, p.x, i) + read(p.y_type, p.branch, i));
    p.x_type = DType::kF32;
    p.x = p.sum;
  }
  for (int64_t r = begin; r < end; ++r) {
    const double inverse = inverse_size(p, r);
    for (int64_t i = r * p.cols; i < (r + 1) * p.cols; ++i)
      write(p.y_type, p.y, i, read(p.x_type, p.x, i) * inverse * p.weight[i - r * p.cols]);
  }
}

void rms_norm_backward(const NormRows& p, int64_t begin, int64_t end) noexcept {
  for (int64_t r = begin; r < end; ++r) {
    const double inverse = inverse_size(p, r);
    const auto slope = [&](int64_t i) { return read(p.y_type, p.dy, i) * p.weight[i - r * p.cols]; };
    double sum = 0;
    for (int64_t i = r * p.cols; i < (r + 1) * p.cols; ++i) sum += slope(i) * read(p.x_type, p.x, i);
    const double along = sum * inverse * inverse / static_cast<double>(p.cols);
    for (int64_t i = r * p.cols; i < (r + 1) * p.cols; ++i)
      write(p.x_type, p.dx, i, inverse * (slope(i) - along * read(p.x_type, p.x, i)));
  }
}

void swiglu_forward(const SwigluArrays& p, int64_t begin, int64_t end) noexcept {
  for (int64_t i = begin; i < end; ++i) {
    const double gate = read(p.type, p.gate, i);
    write(p.type, p.out, i, gate / (1.0 + std::exp(-gate)) * read(p.type, p.up, i));
  }
}

void swiglu_backward(const SwigluArrays& p, int64_t begin, int64_t end) noexcept {
  for (int64_t i = begin; i < end; ++i) {
    const double gate = read(p.type, p.gate, i);
    const double dout = read(p.type, p.dout, i);
    const double open = 1.0 / (1.0 + std::exp(-gate));
    write(p.type, p.dup, i, dout * gate * open);
    write(p.type, p.dgate, i, dout * read(p.type, p.up, i) * open * (1.0 + gate * (1.0 - open)));
  }
}

void rotate_rows(const RotateRows& p, int64_t begin, int64_t end) noexcept {
  const int64_t half = p.head_dim / 2;
  for (int64_t r = begin; r < end; ++r) {
    const int64_t angle = r % p.table_rows * half;
    for (int64_t n = 0; n < p.heads; ++n) {
      const int64_t x = r * p.x_row_stride + n * p.x_head_stride;
      const int64_t y = r * p.y_row_stride + n * p.y_head_stride;
      for (int64_t i = 0; i < half; ++i) {
        const double a = read(p.x_type, p.x, x + i);
        const double b = read(p.x_type, p.x, x + half + i);
        const double cos = p.cos[angle + i];
        const double sin = p.backwards ? -p.sin[angle + i] : p.sin[angle + i];
        write(p.y_type, p.y, y + i, a * cos - b * sin);
        write(p.y_type, p.y, y + half + i, b * cos + a * sin);
      }
    }
  }
}

void loss_rows(const LossRows& p, int64_t begin, int64_t end) noexcept {
  for (int64_t r = begin; r < end; ++r) {
    const int64_t first = r * p.vocabulary;
    const bool taught = p.teacher != nullptr;
    const double lse = log_sum_exp(p.type, p.logits, first, p.vocabulary);
    const double teacher_lse = taught ? log_sum_exp(p.type, p.teacher, first, p.vocabulary) : 0.0;
    p.cross_entropy[r] = static_cast<float>(lse - read(p.type, p.logits, first + p.labels[r]));
    double divergence = 0;
    for (int64_t i = first; i < first + p.vocabulary; ++i) {
      const double log_p = read(p.type, p.logits, i) - lse;
      double gradient = p.cross_entropy_weight * (std::exp(log_p) - (i - first == p.labels[r] ? 1.0 : 0.0));
      if (taught) {
        const double log_t = read(p.type, p.teacher, i) - teacher_lse;
        divergence += std::exp(log_t) * (log_t - log_p);
        gradient += p.divergence_weight * (std::exp(log_p) - std::exp(log_t));
      }
      if (p.differentiate) write(p.type, p.logits, i, gradient);
    }
    if (taught) p.divergence[r] = static_cast<float>(divergence);
  }
}

}  // namespace beacon::kernels::reference
