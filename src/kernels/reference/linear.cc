// Products with weight rows, one element at a time.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {
namespace {

constexpr int64_t kBlock = 32;
constexpr float kZeros[kBlock] = {};

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

void quantize_activations_q15(const float* x, Q15Group* dst, int64_t n) noexcept {
  for (int64_t b = 0; b < (n + 127) / 128 * 4; ++b) {
    Q15Group& group = dst[b / 4];
    const float* values = b * kBlock < n ? x + b * kBlock : kZeros;
    float largest = 0;
    bool finite = true;
    for (int64_t i = 0; i < kBlock; ++i) {
      largest = std::max(largest, std::fabs(values[i]));
      finite = finite && std::isfinite(values[i]);
    }
    // Below this the inverse would overflow; such a block is zero for every purpose.
    const bool zero = largest < 1e-30F;
    const float inverse = zero || !finite ? 0.0F : 16256.0F / largest;
    const float scale = !finite ? std::numeric_limits<float>::quiet_NaN() : zero ? 0.0F : largest / 16256.0F;
    for (int64_t j = 4 * (b % 4); j < 4 * (b % 4) + 4; ++j) {
      group.scale[j] = scale;
      group.sums[j] = 0;
    }
    for (int64_t i = 0; i < kBlock; ++i) {
      const int q = finite ? static_cast<int>(std::nearbyint(values[i] * inverse)) : 0;
      const int high = static_cast<int>(std::floor((q + 64) / 128.0));
      group.high[i / 16][16 * (b % 4) + i % 16] = static_cast<int8_t>(high);
      group.low[i / 16][16 * (b % 4) + i % 16] = static_cast<int8_t>(q - 128 * high);
      group.sums[4 * (b % 4) + i % 4] += q;
    }
  }
}

void linear_rows_q15(const LinearQ15Params& p, int64_t o_begin, int64_t o_end) noexcept {
  for (int64_t o = o_begin; o < o_end; ++o) {
    for (int64_t r = 0; r < p.rows; ++r) {
      double sum = 0;
      for (int64_t i = 0; i < p.in; ++i) {
        const Q15Group& group = p.x[r * p.x_stride + i / 128];
        const int64_t block = i / kBlock % 4;
        const double w = weight_at(p.weight_type, p.weight + o * p.weight_row_bytes, i);
        const int64_t at = 16 * block + i % 16;
        const int q = 128 * group.high[i % kBlock / 16][at] + group.low[i % kBlock / 16][at];
        sum += w * group.scale[4 * block] * q;
      }
      store(p.y + r * p.y_stride + o, sum, p.bias, o, p.accumulate);
    }
  }
}

void round_tile_q15(const float* x, int64_t x_stride, int64_t rows, int64_t n, int16_t* q, float* scale,
                    float* sums) noexcept {
  constexpr int64_t kRows = kLinearTileRows;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t b = 0; b < n / kBlock; ++b) {
      Q15Group group;
      reference::quantize_activations_q15(r < rows ? x + r * x_stride + b * kBlock : kZeros, &group, kBlock);
      int32_t sum = 0;
      for (int64_t i = 0; i < kBlock; ++i) {
        const int value = 128 * group.high[i / 16][i % 16] + group.low[i / 16][i % 16];
        const int64_t pair = (b * kBlock + i) / 2;
        q[2 * (pair * kRows + r) + i % 2] = static_cast<int16_t>(value);
        sum += value;
      }
      scale[b * kRows + r] = group.scale[0];
      sums[b * kRows + r] = static_cast<float>(sum) * group.scale[0];
    }
  }
}

void linear_matrix_q15(const LinearMatrixParams& p, int64_t o_begin, int64_t o_end) noexcept {
  constexpr int64_t kRows = kLinearTileRows;
  for (int64_t o = o_begin; o < o_end; ++o) {
    for (int64_t r = 0; r < p.rows; ++r) {
      const int64_t tile = r / kRows * kRows * p.in;
      double sum = 0;
      for (int64_t i = 0; i < p.in; ++i) {
        const double w = weight_at(p.weight_type, p.weight + o * p.weight_row_bytes, i);
        const int q = p.x[tile + 2 * (i / 2 * kRows + r % kRows) + i % 2];
        sum += w * p.x_scale[tile / kBlock + i / kBlock * kRows + r % kRows] * q;
      }
      store(p.y + r * p.y_stride + o, sum, p.bias, o, false);
    }
  }
}

}  // namespace beacon::kernels::reference
