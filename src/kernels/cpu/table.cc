// The table of one vector build.
#include "kernels/cpu/functions.h"
#include "kernels/cpu/tables.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {

const KernelTable kTable = {
    .dequantize_row = dequantize_row,
    .dequantize_row_bf16 = dequantize_row_bf16,
    .quantize_row_q8_0 = quantize_row_q8_0,
    .f32_to_bf16 = f32_to_bf16,
    .f32_to_f16 = f32_to_f16,
    .bf16_to_f32 = bf16_to_f32,
    .f16_to_f32 = f16_to_f32,
    .linear_rows = linear_rows,
    .quantize_activations_q15 = quantize_activations_q15,
    .linear_rows_q15 = linear_rows_q15,
    .most_rows_q15 = kMostRowsQ15,
    .round_tile_q15 = round_tile_q15,
    .linear_matrix_q15 = linear_matrix_q15,
    .exp_row = exp_row,
    .silu = silu,
    .softmax_row = softmax_row,
    .argmax = argmax,
    .attention_decode_scratch_floats = attention_decode_scratch_floats,
    .attention_decode = attention_decode,
    .attention_forward_scratch_floats = attention_forward_scratch_floats,
    .attention_forward = attention_forward,
    .attention_backward_scratch_floats = attention_backward_scratch_floats,
    .attention_backward_workspace_floats = attention_backward_workspace_floats,
    .attention_backward_rows = attention_backward_rows,
    .attention_backward_keys = attention_backward_keys,
    .attention_backward_queries = attention_backward_queries,
    .rms_norm_forward = rms_norm_forward,
    .rms_norm_backward = rms_norm_backward,
    .swiglu_forward = swiglu_forward,
    .swiglu_backward = swiglu_backward,
    .rotate_rows = rotate_rows,
    .loss_rows = loss_rows,
};

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
