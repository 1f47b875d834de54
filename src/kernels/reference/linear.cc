// Products with weight rows, one element at a time.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {
namespace {

constexpr int64_t kBlock = 32;
constexpr float kZeros[kBlock] = {};

// Element i of block b of a group.
template <typename Group>
auto& q8_at(Group& group, int64_t b, int64_t i) {
  return i < 16 ? group.low[16 * b + i] : group.high[16 * b + i - 16];
}

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

void quantize_activations_q8(const float* x, Q8Group* dst, int64_t n) noexcept {
  for (int64_t b = 0; b < (n + 127) / 128 * 4; ++b) {
    Q8Group& group = dst[b / 4];
    const float* values = b * kBlock < n ? x + b * kBlock : kZeros;
    float largest = 0;
    bool finite = true;
    for (int64_t i = 0; i < kBlock; ++i) {
      largest = std::max(largest, std::fabs(values[i]));
      finite = finite && std::isfinite(values[i]);
    }
    // Below this the inverse would overflow; such a block is zero for every purpose.
    const bool zero = largest < 1e-30F;
    const float inverse = zero || !finite ? 0.0F : 127.0F / largest;
    const float scale = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0.0F : largest / 127.0F;
    for (int64_t j = 4 * (b % 4); j < 4 * (b % 4) + 4; ++j) {
      group.scale[j] = scale;
      group.sums[j] = 0;
    }
    for (int64_t i = 0; i < kBlock; ++i) {
      const auto q = finite ? static_cast<int8_t>(std::nearbyint(values[i] * inverse)) : int8_t{0};
      q8_at(group, b % 4, i) = q;
      group.sums[4 * (b % 4) + i % 4] += q;
    }
  }
}

void linear_rows_q8(const LinearQ8Params& p, int64_t o_begin, int64_t o_end) noexcept {
  for (int64_t o = o_begin; o < o_end; ++o) {
    for (int64_t r = 0; r < p.rows; ++r) {
      double sum = 0;
      for (int64_t i = 0; i < p.in; ++i) {
        const Q8Group& group = p.x[r * p.x_stride + i / 128];
        const int64_t block = i / kBlock % 4;
        const double w = weight_at(p.weight_type, p.weight + o * p.weight_row_bytes, i);
        sum += w * group.scale[4 * block] * q8_at(group, block, i % kBlock);
      }
      store(p.y + r * p.y_stride + o, sum, p.bias, o, p.accumulate);
    }
  }
}

}  // namespace beacon::kernels::reference
