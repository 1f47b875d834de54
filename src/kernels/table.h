#pragma once
// One build of all kernels as function pointers. Internal to this module: callers use the functions of the
// other headers, tests may pick a table. Included by the per-ISA files, so nothing here may need inline code
// of the library.
#include <cstddef>
#include <cstdint>

#include "kernels/attention.h"
#include "kernels/attention_decode.h"
#include "kernels/linear.h"
#include "kernels/loss_rows.h"
#include "kernels/rows.h"

namespace beacon::kernels {

struct KernelTable {
  void (*dequantize_row)(DType type, const std::byte* src, float* dst, int64_t n) noexcept;
  void (*dequantize_row_bf16)(DType type, const std::byte* src, uint16_t* dst, int64_t n) noexcept;
  void (*quantize_row_q8_0)(const float* src, std::byte* dst, int64_t n) noexcept;
  void (*f32_to_bf16)(const float* src, uint16_t* dst, int64_t n) noexcept;
  void (*f32_to_f16)(const float* src, uint16_t* dst, int64_t n) noexcept;
  void (*bf16_to_f32)(const uint16_t* src, float* dst, int64_t n) noexcept;
  void (*f16_to_f32)(const uint16_t* src, float* dst, int64_t n) noexcept;

  void (*linear_rows)(const LinearParams& params, int64_t o_begin, int64_t o_end) noexcept;
  void (*quantize_activations_q15)(const float* x, Q15Group* dst, int64_t n) noexcept;
  void (*linear_rows_q15)(const LinearQ15Params& params, int64_t o_begin, int64_t o_end) noexcept;
  int64_t most_rows_q15;
  void (*round_tile_q15)(const float* x, int64_t x_stride, int64_t rows, int64_t n, int16_t* q, float* scale,
                         float* sums) noexcept;
  void (*linear_matrix_q15)(const LinearMatrixParams& params, int64_t o_begin, int64_t o_end) noexcept;

  void (*exp_row)(const float* x, float* y, int64_t n) noexcept;
  void (*silu)(const float* x, float* y, int64_t n) noexcept;
  void (*softmax_row)(const float* x, float* y, int64_t n) noexcept;
  int64_t (*argmax)(const float* x, int64_t n) noexcept;

  int64_t (*attention_decode_scratch_floats)(const AttentionDecodeParams& params) noexcept;
  void (*attention_decode)(const AttentionDecodeParams& params, int64_t chunks, int64_t unit_begin,
                           int64_t unit_end, float* partials, float* scratch) noexcept;

  int64_t (*attention_forward_scratch_floats)(const AttentionParams& params) noexcept;
  void (*attention_forward)(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                            float* scratch) noexcept;
  int64_t (*attention_backward_scratch_floats)(const AttentionParams& params) noexcept;
  int64_t (*attention_backward_workspace_floats)(const AttentionParams& params) noexcept;
  void (*attention_backward_rows)(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                                  float* workspace, float* scratch) noexcept;
  void (*attention_backward_keys)(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                                  float* workspace, float* scratch) noexcept;
  void (*attention_backward_queries)(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                                     float* workspace, float* scratch) noexcept;

  void (*rms_norm_forward)(const NormRows& params, int64_t begin, int64_t end) noexcept;
  void (*rms_norm_backward)(const NormRows& params, int64_t begin, int64_t end) noexcept;
  void (*swiglu_forward)(const SwigluArrays& params, int64_t begin, int64_t end) noexcept;
  void (*swiglu_backward)(const SwigluArrays& params, int64_t begin, int64_t end) noexcept;
  void (*rotate_rows)(const RotateRows& params, int64_t begin, int64_t end) noexcept;
  void (*loss_rows)(const LossRows& params, int64_t begin, int64_t end) noexcept;
};

// The partial result of one query head over one chunk of keys, in `partials` at
// ((kv_head * chunks + chunk) * T * G + t * G + g) * (H + 2): H sums of e^(score - m) v, then m (the largest
// score, -inf when no key is seen), then the sum of e^(score - m). Chunk c covers the keys [c * step, min(S,
// (c + 1) * step)), step = ceil(S / chunks).

// The slow twins of everything, and the table in use.
extern const KernelTable kReferenceTable;
const KernelTable& active_table() noexcept;

}  // namespace beacon::kernels
