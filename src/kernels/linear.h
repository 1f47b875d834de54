#pragma once
// y = x W^T (+ bias) for few rows of x and weights in any weight type: the products of decoding, bound by the
// reading of W. For many rows dequantise and use a GEMM instead.
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace beacon::kernels {

struct LinearParams {
  DType weight_type = DType::kF32;    // see is_weight_type()
  const std::byte* weight = nullptr;  // [out, in], any alignment
  int64_t weight_row_bytes = 0;       // distance of neighbouring rows of W
  const float* x = nullptr;           // [rows, in]
  int64_t x_stride = 0;               // floats between rows of x
  const float* bias = nullptr;        // [out] or null
  float* y = nullptr;                 // [rows, out]
  int64_t y_stride = 0;               // floats between rows of y
  int64_t rows = 0;                   // any number; made for 1 to 16
  int64_t in = 0;                     // a multiple of the block size of weight_type
  bool accumulate = false;            // y += instead of y =
};

// y[r, o] (+)= sum_i x[r, i] W[o, i] + bias[o] for o in [o_begin, o_end): the caller splits outputs over
// threads. Accumulates in f32; the error is within 1e-5 |x| |W[o]| of the exact product with the dequantised
// weights. A row's result does not depend on the other rows nor on the split. No overlap of y with x. No
// scratch.
void linear_rows(const LinearParams& params, int64_t o_begin, int64_t o_end) noexcept;

// 32 activations as 8-bit integers: x[i] is about scale * q[i].
struct Q8Block {
  float scale;
  float sum;  // scale * (q[0] + ... + q[31])
  int8_t q[32];
};

// n (a multiple of 32) floats to n / 32 blocks: scale = max |x| / 127, q = x / scale rounded to nearest even.
// |x[i] - scale q[i]| <= scale / 2. A block with a NaN or an infinity gets a NaN scale, so that it shows in
// results.
void quantize_activations_q8(const float* x, Q8Block* dst, int64_t n) noexcept;

// True for the types linear_rows_q8 reads: Q8_0 Q4_0 Q4_1.
bool is_q8_weight_type(DType type) noexcept;

struct LinearQ8Params {
  DType weight_type = DType::kQ8_0;   // see is_q8_weight_type()
  const std::byte* weight = nullptr;  // [out, in], any alignment
  int64_t weight_row_bytes = 0;
  const Q8Block* x = nullptr;  // [rows, in / 32]
  int64_t x_stride = 0;        // blocks between rows of x
  const float* bias = nullptr;
  float* y = nullptr;  // [rows, out]
  int64_t y_stride = 0;
  int64_t rows = 0;
  int64_t in = 0;  // a multiple of 32
  bool accumulate = false;
};

// linear_rows on 8-bit activations: integer products, exact up to f32 sums over blocks. Against linear_rows
// on the unrounded x the error of y[r, o] is at most sum over blocks b of scale[r, b] / 2 * sum_{i in b}
// |W[o, i]|.
void linear_rows_q8(const LinearQ8Params& params, int64_t o_begin, int64_t o_end) noexcept;

}  // namespace beacon::kernels
