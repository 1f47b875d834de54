// The public functions: each calls the build in use.
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/attention_decode.h"
#include "kernels/convert.h"
#include "kernels/linear.h"
#include "kernels/loss_rows.h"
#include "kernels/rows.h"
#include "kernels/table.h"

namespace beacon::kernels {

bool is_weight_type(DType type) noexcept { return type <= DType::kQ6_K; }

void dequantize_row(DType type, const std::byte* src, float* dst, int64_t n) noexcept {
  active_table().dequantize_row(type, src, dst, n);
}

void dequantize_row_bf16(DType type, const std::byte* src, uint16_t* dst, int64_t n) noexcept {
  active_table().dequantize_row_bf16(type, src, dst, n);
}

void quantize_row_q8_0(const float* src, std::byte* dst, int64_t n) noexcept {
  active_table().quantize_row_q8_0(src, dst, n);
}

void f32_to_bf16(const float* src, uint16_t* dst, int64_t n) noexcept {
  active_table().f32_to_bf16(src, dst, n);
}
void f32_to_f16(const float* src, uint16_t* dst, int64_t n) noexcept {
  active_table().f32_to_f16(src, dst, n);
}
void bf16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept {
  active_table().bf16_to_f32(src, dst, n);
}
void f16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept {
  active_table().f16_to_f32(src, dst, n);
}

void linear_rows(const LinearParams& params, int64_t o_begin, int64_t o_end) noexcept {
  active_table().linear_rows(params, o_begin, o_end);
}

void quantize_activations_q15(const float* x, Q15Group* dst, int64_t n) noexcept {
  active_table().quantize_activations_q15(x, dst, n);
}

void linear_rows_q15(const LinearQ15Params& params, int64_t o_begin, int64_t o_end) noexcept {
  active_table().linear_rows_q15(params, o_begin, o_end);
}

int64_t most_rows_q15() noexcept { return active_table().most_rows_q15; }

void round_tile_q15(const float* x, int64_t x_stride, int64_t rows, int64_t n, int16_t* q, float* scale,
                    float* sums) noexcept {
  active_table().round_tile_q15(x, x_stride, rows, n, q, scale, sums);
}

void linear_matrix_q15(const LinearMatrixParams& params, int64_t o_begin, int64_t o_end) noexcept {
  active_table().linear_matrix_q15(params, o_begin, o_end);
}

void exp_row(const float* x, float* y, int64_t n) noexcept { active_table().exp_row(x, y, n); }
void silu(const float* x, float* y, int64_t n) noexcept { active_table().silu(x, y, n); }

void softmax_row(const float* x, float* y, int64_t n) noexcept { active_table().softmax_row(x, y, n); }
int64_t argmax(const float* x, int64_t n) noexcept { return active_table().argmax(x, n); }

int64_t attention_decode_scratch_floats(const AttentionDecodeParams& params) noexcept {
  return active_table().attention_decode_scratch_floats(params);
}

void attention_decode(const AttentionDecodeParams& params, int64_t chunks, int64_t unit_begin,
                      int64_t unit_end, float* partials, float* scratch) noexcept {
  active_table().attention_decode(params, chunks, unit_begin, unit_end, partials, scratch);
}

int64_t attention_forward_scratch_floats(const AttentionParams& params) noexcept {
  return active_table().attention_forward_scratch_floats(params);
}

void attention_forward(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                       float* scratch) noexcept {
  active_table().attention_forward(params, unit_begin, unit_end, scratch);
}

int64_t attention_backward_scratch_floats(const AttentionParams& params) noexcept {
  return active_table().attention_backward_scratch_floats(params);
}

void attention_backward_rows(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                             float* workspace, float* scratch) noexcept {
  active_table().attention_backward_rows(params, unit_begin, unit_end, workspace, scratch);
}

void attention_backward_keys(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                             float* workspace, float* scratch) noexcept {
  active_table().attention_backward_keys(params, unit_begin, unit_end, workspace, scratch);
}

void attention_backward_queries(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                                float* workspace, float* scratch) noexcept {
  active_table().attention_backward_queries(params, unit_begin, unit_end, workspace, scratch);
}

void rms_norm_forward(const NormRows& params, int64_t begin, int64_t end) noexcept {
  active_table().rms_norm_forward(params, begin, end);
}
void rms_norm_backward(const NormRows& params, int64_t begin, int64_t end) noexcept {
  active_table().rms_norm_backward(params, begin, end);
}
void swiglu_forward(const SwigluArrays& params, int64_t begin, int64_t end) noexcept {
  active_table().swiglu_forward(params, begin, end);
}
void swiglu_backward(const SwigluArrays& params, int64_t begin, int64_t end) noexcept {
  active_table().swiglu_backward(params, begin, end);
}
void rotate_rows(const RotateRows& params, int64_t begin, int64_t end) noexcept {
  active_table().rotate_rows(params, begin, end);
}
void loss_rows(const LossRows& params, int64_t begin, int64_t end) noexcept {
  active_table().loss_rows(params, begin, end);
}

}  // namespace beacon::kernels
