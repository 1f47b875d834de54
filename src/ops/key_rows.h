#pragma once
// Rows of keys and values as a memory holds them: f32, bf16, or blocks of 8-bit integers. The last axis of a
// tensor of rows is a row of one head: H elements or, of blocks, their bytes.
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "base/dtype.h"
#include "ops/rope.h"

namespace beacon::ops {

// The element type of tensors whose rows are Q8_0 blocks.
inline constexpr at::ScalarType kBlockRows = at::kByte;

// kF32, kBF16 or kQ8_0, and back; any other type is a mistake of the caller.
DType row_dtype(at::ScalarType type);
at::ScalarType row_scalar(DType type);

// Size of the last axis for heads of H, and H of a tensor of rows.
int64_t row_width(at::ScalarType type, int64_t head_dim);
int64_t row_head_dim(const at::Tensor& rows);

// Rows that are blocks live in host memory only.
//
// Writes x [B, K, R, H], f32 or bf16 with unit stride in H, to rows [B, K, R, width] with unit stride there.
void store_rows(const at::Tensor& x, const at::Tensor& rows);

// The rows [B, K, R, width] as f32 [B, K, R, H], a contiguous copy.
at::Tensor float_rows(const at::Tensor& rows);

// The new rows of a memory in one launch, where the device has a kernel for it; false, and nothing done,
// where not. k, v [T, K * H] contiguous; to k_to (rotated by the table of T rows) and v_to [1, K, T, H] of
// one type and, unless undefined, k_before f32 [1, K, T, H] (k as it is).
bool append_on_device(const at::Tensor& k, const at::Tensor& v, const RopeTable& table,
                      const at::Tensor& k_to, const at::Tensor& v_to, const at::Tensor& k_before);

}  // namespace beacon::ops
