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

// 128 activations as 15-bit integers q = 128 * high byte + low byte, the low byte in [-64, 64): four blocks
// of 32, each with its scale; x[i] is about scale * q[i]. Laid out as products of bytes take them: the first
// halves of the four blocks apart from the second ones, high bytes apart from low ones.
struct alignas(64) Q15Group {
  float scale[16];     // of block b at 4 b .. 4 b + 3, four times the same
  int32_t sums[16];    // at 4 b + j the sum of the q[i] of block b with i % 4 = j
  int8_t high[2][64];  // [0]: elements 0..15 of block b at 16 b; [1]: elements 16..31
  int8_t low[2][64];
};

// n (a multiple of 32) floats to ceil(n / 128) groups; blocks beyond n are zero. scale = max |x| / 16256, q =
// x / scale rounded to nearest even: |x[i] - scale q[i]| <= scale / 2. A block with a NaN or an infinity gets
// a NaN scale, so that it shows in results.
void quantize_activations_q15(const float* x, Q15Group* dst, int64_t n) noexcept;

struct LinearQ15Params {
  DType weight_type = DType::kQ8_0;   // any that is_quantised()
  const std::byte* weight = nullptr;  // [out, in], any alignment
  int64_t weight_row_bytes = 0;
  const Q15Group* x = nullptr;  // [rows, ceil(in / 128)]
  int64_t x_stride = 0;         // groups between rows of x
  const float* bias = nullptr;
  float* y = nullptr;  // [rows, out]
  int64_t y_stride = 0;
  int64_t rows = 0;
  int64_t in = 0;  // a multiple of the block size of weight_type
  bool accumulate = false;
};

// linear_rows on 15-bit activations: integer products, exact up to f32 sums over blocks. Against linear_rows
// on the unrounded x the error of y[r, o] is at most sum over blocks b of scale[r, b] / 2 * sum_{i in b}
// |W[o, i]|. A row's result does not depend on the split, and on the other rows only, for f32 roundings, in
// how many they are. Where there are products of bytes (VNNI), of 3 rows or more each 16 share weights that
// are turned once, in 40 KB of stack; then outputs should be split at multiples of kLinearRowsPanel.
void linear_rows_q15(const LinearQ15Params& params, int64_t o_begin, int64_t o_end) noexcept;
inline constexpr int64_t kLinearRowsPanel = 16;

// Up to how many rows linear_rows_q15 is faster than linear_matrix_q15.
int64_t most_rows_q15() noexcept;

// Rows of activations that are laid side by side for linear_matrix_q15.
inline constexpr int kLinearTileRows = 4;

// A tile of `rows` (1 to kLinearTileRows) rows of n (a multiple of 32) floats, to the same integers as
// quantize_activations_q15: q [n / 2, kLinearTileRows, 2], scale [n / 32, kLinearTileRows], and sums
// [n / 32, kLinearTileRows], that of a block's q times its scale. Rows that are not there become zero.
void round_tile_q15(const float* x, int64_t x_stride, int64_t rows, int64_t n, int16_t* q, float* scale,
                    float* sums) noexcept;

struct LinearMatrixParams {
  DType weight_type = DType::kQ8_0;   // any that is_quantised()
  const std::byte* weight = nullptr;  // [out, in], any alignment
  int64_t weight_row_bytes = 0;
  // The tiles of all rows, one behind the other, each as round_tile_q15 leaves it.
  const int16_t* x = nullptr;
  const float* x_scale = nullptr;
  const float* x_sums = nullptr;
  const float* bias = nullptr;  // [out] or null
  float* y = nullptr;           // [rows, out]
  int64_t y_stride = 0;
  int64_t rows = 0;
  int64_t in = 0;  // a multiple of the block size of weight_type
};

// Outputs should be split over threads at multiples of this.
inline constexpr int64_t kLinearPanel = 32;

// The products of linear_rows_q15 for many rows, where computing counts and not reading: y[r, o] = sum_i x[r,
// i] W[o, i] + bias[o] for o in [o_begin, o_end). Weights are unpacked once for all rows. Exact up to f32
// sums over blocks; a row's result does not depend on the other rows nor on the split. Uses 30 KB of stack.
void linear_matrix_q15(const LinearMatrixParams& params, int64_t o_begin, int64_t o_end) noexcept;

}  // namespace beacon::kernels
