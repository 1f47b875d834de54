// The kernels of one vector build, in the namespace of its instruction set; see the headers in kernels/.
#pragma once

#include "kernels/table.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {

void f32_to_bf16(const float* src, uint16_t* dst, int64_t n) noexcept;
void f32_to_f16(const float* src, uint16_t* dst, int64_t n) noexcept;
void bf16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept;
void f16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept;
void dequantize_row(DType type, const std::byte* src, float* dst, int64_t n) noexcept;
void dequantize_row_bf16(DType type, const std::byte* src, uint16_t* dst, int64_t n) noexcept;

void quantize_row_q8_0(const float* src, std::byte* dst, int64_t n) noexcept;

void linear_rows(const LinearParams& params, int64_t o_begin, int64_t o_end) noexcept;
void quantize_activations_q15(const float* x, Q15Group* dst, int64_t n) noexcept;
void linear_rows_q15(const LinearQ15Params& params, int64_t o_begin, int64_t o_end) noexcept;
#if defined(__AVX512VNNI__)
inline constexpr int64_t kMostRowsQ15 = 32;
#else
inline constexpr int64_t kMostRowsQ15 = 6;
#endif
void round_tile_q15(const float* x, int64_t x_stride, int64_t rows, int64_t n, int16_t* q, float* scale,
                    float* sums) noexcept;
void linear_matrix_q15(const LinearMatrixParams& params, int64_t o_begin, int64_t o_end) noexcept;

void exp_row(const float* x, float* y, int64_t n) noexcept;
void silu(const float* x, float* y, int64_t n) noexcept;
void softmax_row(const float* x, float* y, int64_t n) noexcept;
int64_t argmax(const float* x, int64_t n) noexcept;

int64_t attention_decode_scratch_floats(const AttentionDecodeParams& params) noexcept;
void attention_decode(const AttentionDecodeParams& params, int64_t chunks, int64_t unit_begin,
                      int64_t unit_end, float* partials, float* scratch) noexcept;

int64_t attention_forward_scratch_floats(const AttentionParams& params) noexcept;
void attention_forward(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                       float* scratch) noexcept;
#if defined(__AVX2__)
// Where AttentionParams::integers is set.
int64_t attention_integers_scratch_floats(const AttentionParams& params) noexcept;
void attention_integers(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                        float* scratch) noexcept;
#endif
int64_t attention_backward_scratch_floats(const AttentionParams& params) noexcept;
int64_t attention_backward_workspace_floats(const AttentionParams& params) noexcept;
void attention_backward_rows(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                             float* workspace, float* scratch) noexcept;
void attention_backward_keys(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                             float* workspace, float* scratch) noexcept;
void attention_backward_queries(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                                float* workspace, float* scratch) noexcept;

void rms_norm_forward(const NormRows& params, int64_t begin, int64_t end) noexcept;
void rms_norm_backward(const NormRows& params, int64_t begin, int64_t end) noexcept;
void swiglu_forward(const SwigluArrays& params, int64_t begin, int64_t end) noexcept;
void swiglu_backward(const SwigluArrays& params, int64_t begin, int64_t end) noexcept;
void rotate_rows(const RotateRows& params, int64_t begin, int64_t end) noexcept;
void loss_rows(const LossRows& params, int64_t begin, int64_t end) noexcept;

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
