#pragma once
// Rotary position embedding (Su et al. 2021), in the half-split layout of Hugging Face.
#include <cstdint>

namespace beacon::kernels {

// Strides are in floats. y may be x with the same strides (in place); otherwise they must not overlap.
struct RopeParams {
  const float* x = nullptr;  // [rows, heads, head_dim]
  int64_t x_row_stride = 0;
  int64_t x_head_stride = 0;
  float* y = nullptr;  // [rows, heads, head_dim]
  int64_t y_row_stride = 0;
  int64_t y_head_stride = 0;
  const float* cos = nullptr;  // [rows, head_dim / 2] contiguous
  const float* sin = nullptr;  // [rows, head_dim / 2] contiguous
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;  // even
};

// Rotates the pairs (i, i + head_dim / 2): y_i = x_i cos_i - x_j sin_i, y_j = x_j cos_i + x_i sin_i.
// Split rows over threads by offsetting x, y, cos and sin. A rotation by -angle is the same call with -sin.
void rope(const RopeParams& params) noexcept;

}  // namespace beacon::kernels
