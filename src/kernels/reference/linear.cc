// Products with weight rows, one element at a time.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {
namespace {

constexpr int64_t kBlock = 32;

void store(float* y, double sum, const float* bias, int64_t o, bool accumulate) {
  if (bias != nullptr) sum += bias[o];
  if (accumulate) sum += *y;
  *y = static_cast<float>(sum);
}

}  // namespace

void linear_rows(const LinearParams& p, int64_t o_begin, int64_t o_end) noexcept {
  for (int64_t o = o_begin; o < o_end; ++o) {
    for (int64_t r = 0; r < p.rows; ++r) {
      double sum = 0;
      for (int64_t i = 0; i < p.in; ++i) {
        const double w = weight_at(p.weight_type, p.weight + o * p.weight_row_bytes, i);
        sum += w * p.x[r * p.x_stride + i];
      }
      store(p.y + r * p.y_stride + o, sum, p.bias, o, p.accumulate);
    }
  }
}

void quantize_activations_q8(const float* x, Q8Block* dst, int64_t n) noexcept {
  for (int64_t b = 0; b < n / kBlock; ++b) {
    const float* values = x + b * kBlock;
    float largest = 0;
    bool finite = true;
    for (int64_t i = 0; i < kBlock; ++i) {
      largest = std::max(largest, std::fabs(values[i]));
      finite = finite && std::isfinite(values[i]);
    }
    // Below this the inverse would overflow; such a block is zero for every purpose.
    const bool zero = largest < 1e-30F;
    const float inverse = zero || !finite ? 0.0F : 127.0F / largest;
    int sum = 0;
    for (int64_t i = 0; i < kBlock; ++i) {
      dst[b].q[i] = finite ? static_cast<int8_t>(std::nearbyint(values[i] * inverse)) : int8_t{0};
      sum += dst[b].q[i];
    }
    dst[b].scale = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0.0F : largest / 127.0F;
    dst[b].sum = dst[b].scale * static_cast<float>(sum);
  }
}

void linear_rows_q8(const LinearQ8Params& p, int64_t o_begin, int64_t o_end) noexcept {
  for (int64_t o = o_begin; o < o_end; ++o) {
    for (int64_t r = 0; r < p.rows; ++r) {
      double sum = 0;
      for (int64_t i = 0; i < p.in; ++i) {
        const Q8Block& block = p.x[r * p.x_stride + i / kBlock];
        const double w = weight_at(p.weight_type, p.weight + o * p.weight_row_bytes, i);
        sum += w * block.scale * block.q[i % kBlock];
      }
      store(p.y + r * p.y_stride + o, sum, p.bias, o, p.accumulate);
    }
  }
}

}  // namespace beacon::kernels::reference
