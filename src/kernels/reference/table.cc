// The table of slow twins.
#include "kernels/reference/reference.h"

namespace beacon::kernels {

const KernelTable kReferenceTable = {
    .dequantize_row = reference::dequantize_row,
    .dequantize_row_bf16 = reference::dequantize_row_bf16,
    .quantize_row_q8_0 = reference::quantize_row_q8_0,
    .f32_to_bf16 = reference::f32_to_bf16,
    .f32_to_f16 = reference::f32_to_f16,
    .bf16_to_f32 = reference::bf16_to_f32,
    .f16_to_f32 = reference::f16_to_f32,
    .linear_rows = reference::linear_rows,
    .quantize_activations_q15 = reference::quantize_activations_q15,
    .linear_rows_q15 = reference::linear_rows_q15,
    .most_rows_q15 = 6,
    .round_tile_q15 = reference::round_tile_q15,
    .linear_matrix_q15 = reference::linear_matrix_q15,
    .exp_row = reference::exp_row,
    .silu = reference::silu,
    .softmax_row = reference::softmax_row,
    .argmax = reference::argmax,
    .attention_decode_scratch_floats = reference::attention_decode_scratch_floats,
    .attention_decode = reference::attention_decode,
    .attention_forward_scratch_floats = reference::attention_forward_scratch_floats,
    .attention_forward = reference::attention_forward,
    .attention_backward_scratch_floats = reference::attention_backward_scratch_floats,
    .attention_backward_workspace_floats = reference::attention_backward_workspace_floats,
    .attention_backward_rows = reference::attention_backward_rows,
    .attention_backward_keys = reference::attention_backward_keys,
    .attention_backward_queries = reference::attention_backward_queries,
    .rms_norm_forward = reference::rms_norm_forward,
    .rms_norm_backward = reference::rms_norm_backward,
    .swiglu_forward = reference::swiglu_forward,
    .swiglu_backward = reference::swiglu_backward,
    .rotate_rows = reference::rotate_rows,
    .loss_rows = reference::loss_rows,
};

}  // namespace beacon::kernels
