#include "ops/linear.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "base/check.h"
#include "kernels/convert.h"
#include "kernels/linear.h"

namespace beacon::ops {
namespace {

void expand_into(const Weight& weight, const at::Tensor& target) {
  const int64_t row_bytes = weight.row_bytes();
  const bool bf16 = target.scalar_type() == at::kBFloat16;
  auto* base = static_cast<std::byte*>(target.data_ptr());
  const auto target_row = static_cast<int64_t>(target.element_size()) * weight.in;
  parallel_for(weight.out, 16, [&](int64_t begin, int64_t end) {
    for (int64_t o = begin; o < end; ++o) {
      const std::byte* src = weight.data + o * row_bytes;
      std::byte* dst = base + o * target_row;
      if (bf16) {
        kernels::dequantize_row_bf16(weight.dtype, src, reinterpret_cast<uint16_t*>(dst), weight.in);
      } else {
        kernels::dequantize_row(weight.dtype, src, reinterpret_cast<float*>(dst), weight.in);
      }
    }
  });
}

// The weight itself when it lies in the file as the GEMM wants it, else expanded into scratch.
at::Tensor gemm_operand(const Weight& weight, LinearContext& context) {
  const DType wanted = context.compute == at::kBFloat16 ? DType::kBF16 : DType::kF32;
  const auto alignment = reinterpret_cast<uintptr_t>(weight.data) % dtype_info(wanted).block_bytes;
  if (weight.dtype == wanted && alignment == 0) {
    return at::from_blob(const_cast<std::byte*>(weight.data), {weight.out, weight.in},
                         at::TensorOptions().dtype(context.compute));
  }
  at::Tensor expanded = context.expanded.matrix(weight.out, weight.in, context.compute);
  expand_into(weight, expanded);
  return expanded;
}

void linear_few_rows(const at::Tensor& x, const Weight& weight, const at::Tensor& y) {
  kernels::LinearParams params;
  params.weight_type = weight.dtype;
  params.weight = weight.data;
  params.weight_row_bytes = weight.row_bytes();
  params.x = x.const_data_ptr<float>();
  params.x_stride = x.stride(0);
  params.bias = weight.bias.defined() ? weight.bias.const_data_ptr<float>() : nullptr;
  params.y = y.data_ptr<float>();
  params.y_stride = y.stride(0);
  params.rows = x.size(0);
  params.in = weight.in;
  // A piece should read some 100 KB, or waking a thread costs more than it brings.
  const int64_t grain = std::max<int64_t>(16, 100000 / std::max<int64_t>(1, params.weight_row_bytes));
  parallel_for(weight.out, grain,
               [&](int64_t begin, int64_t end) { kernels::linear_rows(params, begin, end); });
}

// The same matrix in f32: itself, or a copy in scratch.
at::Tensor widened(const at::Tensor& x, Scratch& scratch) {
  if (x.scalar_type() == at::kFloat) return x;
  return scratch.matrix(x.size(0), x.size(1), at::kFloat).copy_(x);
}

void linear_f32(const at::Tensor& x, const Weight& weight, const at::Tensor& y, LinearContext& context) {
  at::Tensor out = y;
  at::mm_out(out, x, gemm_operand(weight, context).t());
  if (weight.bias.defined()) out.add_(weight.bias);
}

void linear_bf16(const at::Tensor& x, const Weight& weight, const at::Tensor& y, LinearContext& context) {
  const at::Tensor w = gemm_operand(weight, context);
  const bool rounded = x.scalar_type() == at::kBFloat16;
  const at::Tensor x16 = rounded ? x : context.rounded.matrix(x.size(0), x.size(1), at::kBFloat16).copy_(x);
  at::Tensor out = y;
  if (y.scalar_type() == at::kBFloat16 && !weight.bias.defined()) {
    at::mm_out(out, x16, w.t());
    return;
  }
  at::Tensor y16 = context.product.matrix(x.size(0), weight.out, at::kBFloat16);
  at::mm_out(y16, x16, w.t());
  if (weight.bias.defined()) {
    at::add_out(out, y16, weight.bias);  // in f32
  } else {
    out.copy_(y16);
  }
}

}  // namespace

void linear(const at::Tensor& x, const Weight& weight, const at::Tensor& y, LinearContext& context) {
  BEACON_CHECK(x.dim() == 2 && x.size(1) == weight.in && y.size(0) == x.size(0) && y.size(1) == weight.out);
  BEACON_CHECK(x.stride(1) == 1 && y.stride(1) == 1);
  if (x.size(0) == 0) return;
  if (x.size(0) <= kFewRows) {
    const bool wide = y.scalar_type() == at::kFloat;
    const at::Tensor y32 = wide ? y : context.product.matrix(y.size(0), y.size(1), at::kFloat);
    linear_few_rows(widened(x, context.rounded), weight, y32);
    add_low_rank(x, weight.low_rank, y32, at::kFloat);
    if (!wide) at::Tensor(y).copy_(y32);
  } else if (context.compute == at::kBFloat16) {
    linear_bf16(x, weight, y, context);
    add_low_rank(x, weight.low_rank, y, context.compute);
  } else {
    linear_f32(x, weight, y, context);
    add_low_rank(x, weight.low_rank, y, context.compute);
  }
}

at::Tensor linear_reference(const at::Tensor& x, const Weight& weight) {
  at::Tensor y = at::mm(x, expand(weight, at::kFloat).t());
  return weight.bias.defined() ? y + weight.bias : y;
}

at::Tensor expand(const Weight& weight, at::ScalarType type) {
  BEACON_CHECK(type == at::kFloat || type == at::kBFloat16);
  if (weight.low_rank.defined()) {
    Weight alone = weight;
    alone.low_rank = {};
    return expand(alone, at::kFloat).add_(expand(weight.low_rank)).to(type);
  }
  at::Tensor target = at::empty({weight.out, weight.in}, at::TensorOptions().dtype(type));
  expand_into(weight, target);
  return target;
}

}  // namespace beacon::ops
