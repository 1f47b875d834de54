#pragma once
// Dense layers on weights as they lie in the file: quantised blocks, bf16, f16 or f32.
// Letters: R rows of x, I in, O out.
#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <span>

#include "base/dtype.h"
#include "io/tensor_view.h"
#include "ops/low_rank.h"
#include "ops/parallel.h"

namespace beacon::ops {

// A matrix [O, I] in one of the types of kernels::is_weight_type(), usually inside a memory-mapped file.
// Copying copies the reference. The bias is f32 [O] or undefined. The matrix that is meant is the one at
// `data` plus the low-rank part, if there is one.
struct Weight {
  DType dtype = DType::kF32;
  int64_t out = 0;
  int64_t in = 0;
  const std::byte* data = nullptr;
  std::shared_ptr<const void> owner;  // keeps `data` alive
  at::Tensor bias;
  LowRank low_rank;
  // The matrix without its low-rank part on the device where the model runs, when that is not the processor:
  // [O, I] in the compute type, or its blocks as blocks_on() has them, or both. Bias and low-rank part are
  // there too.
  at::Tensor resident;
  at::Tensor resident_blocks;

  bool defined() const { return data != nullptr; }
  int64_t row_bytes() const { return static_cast<int64_t>(*dtype_bytes(dtype, static_cast<uint64_t>(in))); }
  int64_t bytes() const { return row_bytes() * out; }  // of `data`
};

// How products are computed. Sums are f32 in any case.
struct LinearContext {
  at::ScalarType compute = at::kFloat;  // or at::kBFloat16
  // With kFloat: products with quantised weights are whole numbers, of 15-bit activations.
  bool integers = false;
  Scratch expanded;  // the weight in the compute type
  Scratch rounded;   // x in the type that is multiplied, or as 15-bit integers
  Scratch scales;    // of the 15-bit integers of many rows
  Scratch widened;   // x in f32
  Scratch product;   // the product before it gets y's type
};

// Up to this many rows are multiplied straight from the blocks; more are worth expanding the weight first.
inline constexpr int64_t kFewRows = 12;
// In whole numbers of 15-bit activations (context.integers), where many rows need no expanded weight, it is
// kernels::most_rows_q15().

// y = x W^T + bias, W with its low-rank part. x [R, I] and y [R, O] with unit column stride, f32 or, when
// context.compute is bf16, either of them bf16; no overlap. Many rows run through torch's GEMM in
// context.compute, few rows on the blocks, in f32. For quantised weights x is rounded to 15-bit integers
// (kernels::quantize_activations_q15), and their products are integers, where context.integers is set, and of
// few rows also where compute is bf16. A row of few, and every row of such integers, does not depend on the
// others, but for f32 roundings on how many they are. On a GPU: ops/linear_on_device.h.
void linear(const at::Tensor& x, const Weight& weight, const at::Tensor& y, LinearContext& context);

// One of several products of the same rows: y [R, O] = x W^T + bias.
struct LinearTarget {
  const Weight* weight = nullptr;
  at::Tensor y;
};

// linear() for each target, to the same bits. Of few rows x is rounded once, and all weights are read in one
// parallel region.
void linear_group(const at::Tensor& x, std::span<const LinearTarget> targets, LinearContext& context);

// The slow twin: expands the whole weight to f32, adds its low-rank part to it and multiplies in f32.
at::Tensor linear_reference(const at::Tensor& x, const Weight& weight);

// The whole weight, low-rank part included, as a tensor [O, I] of f32 or bf16.
at::Tensor expand(const Weight& weight, at::ScalarType type);

}  // namespace beacon::ops
