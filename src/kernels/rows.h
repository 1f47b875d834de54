#pragma once
// Norm (Zhang and Sennrich 2019), feed-forward gate and rotation (Su et al. 2021, in the half-split layout of
// Hugging Face), forwards and backwards, on rows of f32 or bf16. All arithmetic is f32 (or wider); bf16
// results are rounded to nearest even.
#include <cstdint>

#include "base/dtype.h"

namespace beacon::kernels {

// kF32 or kBF16 for every DType of this header. An output may be an input of the same type and strides.

struct NormRows {
  DType x_type = DType::kF32;
  const void* x = nullptr;        // [rows, cols]
  const float* weight = nullptr;  // [cols]
  DType y_type = DType::kF32;
  void* y = nullptr;         // [rows, cols]: written forwards
  const void* dy = nullptr;  // [rows, cols] of y_type: read backwards
  void* dx = nullptr;        // [rows, cols] of x_type: written backwards
  int64_t cols = 0;
  float eps = 0;
  // Forwards, with a branch [rows, cols] of y_type: sum = x + branch [rows, cols] is written and takes the
  // place of x. sum may be x.
  const void* branch = nullptr;
  float* sum = nullptr;
};

// y = x / sqrt(mean(x^2) + eps) * weight, and the gradient to x, for rows [begin, end).
void rms_norm_forward(const NormRows& params, int64_t begin, int64_t end) noexcept;
void rms_norm_backward(const NormRows& params, int64_t begin, int64_t end) noexcept;

struct SwigluArrays {
  DType type = DType::kF32;
  const void* gate = nullptr;  // [n] each
  const void* up = nullptr;
  void* out = nullptr;         // written forwards
  const void* dout = nullptr;  // read backwards
  void* dgate = nullptr;       // written backwards
  void* dup = nullptr;
};

// out = silu(gate) * up, and the gradients to both, for elements [begin, end).
void swiglu_forward(const SwigluArrays& params, int64_t begin, int64_t end) noexcept;
void swiglu_backward(const SwigluArrays& params, int64_t begin, int64_t end) noexcept;

// Strides in elements. A gradient is the same rotation the other way round.
struct RotateRows {
  DType x_type = DType::kF32;
  const void* x = nullptr;  // [rows, heads, head_dim]
  int64_t x_row_stride = 0;
  int64_t x_head_stride = 0;
  DType y_type = DType::kF32;
  void* y = nullptr;  // [rows, heads, head_dim]
  int64_t y_row_stride = 0;
  int64_t y_head_stride = 0;
  const float* cos = nullptr;  // [table_rows, head_dim / 2]; row r of x is turned by row r % table_rows
  const float* sin = nullptr;  // [table_rows, head_dim / 2]
  int64_t table_rows = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;  // even
  bool backwards = false;
};

// The pairs (i, i + head_dim / 2) of rows [begin, end) turned by +angle, or by -angle when backwards.
void rotate_rows(const RotateRows& params, int64_t begin, int64_t end) noexcept;

}  // namespace beacon::kernels
