#pragma once
// Rows of numbers from one element type to another. All functions: any alignment, no overlap of source and
// target, thread-safe on disjoint targets, no allocation, n >= 0.
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace beacon::kernels {

// True for the types that dequantize_row and linear_rows read:
// F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K.
bool is_weight_type(DType type) noexcept;

// n neighbouring elements of a weight row (GGUF block layouts) as f32. n is a multiple of the block size of
// `type`; src holds dtype_bytes(type, n) bytes. The result has the same bits with every ISA (no fused
// multiply-add). Scales that are NaN or infinite give NaN or infinite elements. Types other than
// is_weight_type() are zeros.
void dequantize_row(DType type, const std::byte* src, float* dst, int64_t n) noexcept;

// The same, rounded to bf16 (nearest even).
void dequantize_row_bf16(DType type, const std::byte* src, uint16_t* dst, int64_t n) noexcept;

// n floats (a multiple of 32) as blocks of kQ8_0: a scale of max |x| / 127 rounded to f16, then x / scale
// rounded to nearest even, at most 127 in size. The same bits with every ISA. A block with a NaN or an
// infinity gets a NaN scale, so that it shows in results; one above 127 * 65504 an infinite one.
void quantize_row_q8_0(const float* src, std::byte* dst, int64_t n) noexcept;

// Rounded to nearest even; a NaN stays a (quiet) NaN with its sign; values beyond the range become infinite;
// subnormal numbers are kept.
void f32_to_bf16(const float* src, uint16_t* dst, int64_t n) noexcept;
void f32_to_f16(const float* src, uint16_t* dst, int64_t n) noexcept;

// Exact (a signalling NaN may become quiet).
void bf16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept;
void f16_to_f32(const uint16_t* src, float* dst, int64_t n) noexcept;

}  // namespace beacon::kernels
