#include "ops/linear.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/convert.h"
#include "kernels/linear.h"
#include "ops/linear_on_device.h"

namespace beacon::ops {
namespace {

// A piece of weights should be some 100 KB, or waking a thread costs more than it brings.
constexpr int64_t kBytesOfAPiece = 100000;

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

// Rows of x in the forms that the kernels of few rows read.
struct FewRows {
  const at::Tensor& x;
  const kernels::Q15Group* groups = nullptr;  // [R, stride]; null: the weights are multiplied in f32
  int64_t stride = 0;

  bool rounded(const Weight& weight) const { return groups != nullptr && is_quantised(weight.dtype); }
};

template <typename Params>
Params few_rows_params(const LinearTarget& target, const FewRows& rows) {
  const Weight& weight = *target.weight;
  Params params;
  params.weight_type = weight.dtype;
  params.weight = weight.data;
  params.weight_row_bytes = weight.row_bytes();
  params.bias = weight.bias.defined() ? weight.bias.const_data_ptr<float>() : nullptr;
  params.y = target.y.data_ptr<float>();
  params.y_stride = target.y.stride(0);
  params.rows = rows.x.size(0);
  params.in = weight.in;
  return params;
}

void multiply_outputs(const LinearTarget& target, const FewRows& rows, int64_t begin, int64_t end) {
  if (rows.rounded(*target.weight)) {
    auto params = few_rows_params<kernels::LinearQ15Params>(target, rows);
    params.x = rows.groups;
    params.x_stride = rows.stride;
    kernels::linear_rows_q15(params, begin, end);
  } else {
    auto params = few_rows_params<kernels::LinearParams>(target, rows);
    params.x = rows.x.const_data_ptr<float>();
    params.x_stride = rows.x.stride(0);
    kernels::linear_rows(params, begin, end);
  }
}

FewRows round_rows(const at::Tensor& x, std::span<const LinearTarget> targets, LinearContext& context) {
  FewRows rows{x};
  const bool quantised = std::any_of(targets.begin(), targets.end(), [](const LinearTarget& target) {
    return is_quantised(target.weight->dtype);
  });
  if (!quantised || (context.compute != at::kBFloat16 && !context.integers)) return rows;
  rows.stride = (x.size(1) + 127) / 128;
  const auto bytes = static_cast<int64_t>(sizeof(kernels::Q15Group));
  auto* groups = static_cast<kernels::Q15Group*>(
      context.rounded.matrix(x.size(0), rows.stride * bytes, at::kByte).data_ptr());
  for (int64_t r = 0; r < x.size(0); ++r) {
    kernels::quantize_activations_q15(x.const_data_ptr<float>() + r * x.stride(0), groups + r * rows.stride,
                                      x.size(1));
  }
  rows.groups = groups;
  return rows;
}

// The threads share the bytes of all weights evenly: a piece is a range of them, in the order of the targets,
// and does the rows, or panels of rows, that begin in it.
void linear_blocks(const at::Tensor& x, std::span<const LinearTarget> targets, LinearContext& context) {
  const FewRows rows = round_rows(x, targets, context);
  int64_t total = 0;
  for (const LinearTarget& target : targets) total += target.weight->bytes();
  parallel_for(total, kBytesOfAPiece, [&](int64_t begin, int64_t end) {
    int64_t first = 0;
    for (const LinearTarget& target : targets) {
      const int64_t row_bytes = target.weight->row_bytes();
      const int64_t panel = x.size(0) > 2 && rows.rounded(*target.weight) ? kernels::kLinearRowsPanel : 1;
      const auto row_from = [&](int64_t byte) {
        const int64_t panels = (byte - first + panel * row_bytes - 1) / (panel * row_bytes);
        return std::clamp(panels * panel, int64_t{0}, target.weight->out);
      };
      const int64_t o_begin = begin <= first ? 0 : row_from(begin);
      const int64_t o_end = end <= first ? 0 : row_from(end);
      if (o_begin < o_end) multiply_outputs(target, rows, o_begin, o_end);
      first += target.weight->bytes();
    }
  });
}

// x and all y as f32, whatever they are.
void linear_few_rows(const at::Tensor& x, std::span<const LinearTarget> targets, LinearContext& context) {
  at::Tensor x32 = x;
  if (x.scalar_type() != at::kFloat) x32 = context.widened.matrix(x.size(0), x.size(1), at::kFloat).copy_(x);
  c10::SmallVector<LinearTarget, 3> wide;
  int64_t narrow = 0;
  for (const LinearTarget& target : targets)
    narrow += target.y.scalar_type() == at::kFloat ? 0 : target.y.numel();
  float* product = narrow == 0 ? nullptr : context.product.floats(narrow);
  for (const LinearTarget& target : targets) {
    wide.push_back(target);
    if (target.y.scalar_type() == at::kFloat) continue;
    wide.back().y = at::from_blob(product, target.y.sizes(), at::kFloat);
    product += target.y.numel();
  }
  linear_blocks(x32, {wide.data(), wide.size()}, context);
  for (size_t i = 0; i < targets.size(); ++i) {
    add_low_rank(x32, targets[i].weight->low_rank, wide[i].y, at::kFloat);
    if (targets[i].y.scalar_type() != at::kFloat) at::Tensor(targets[i].y).copy_(wide[i].y);
  }
}

void multiply_f32(const at::Tensor& x, const Weight& weight, const at::Tensor& y, LinearContext& context) {
  at::Tensor out = y;
  at::mm_out(out, x, gemm_operand(weight, context).t());
  if (weight.bias.defined()) out.add_(weight.bias);
}

void multiply_bf16(const at::Tensor& x, const Weight& weight, const at::Tensor& y, LinearContext& context) {
  const at::Tensor w = gemm_operand(weight, context);
  at::Tensor out = y;
  if (y.scalar_type() == at::kBFloat16 && !weight.bias.defined()) {
    at::mm_out(out, x, w.t());
    return;
  }
  at::Tensor y16 = context.product.matrix(x.size(0), weight.out, at::kBFloat16);
  at::mm_out(y16, x, w.t());
  if (weight.bias.defined()) {
    at::add_out(out, y16, weight.bias);  // in f32
  } else {
    out.copy_(y16);
  }
}

// Rows of x as linear_matrix_q15 takes them.
struct ManyRows {
  const int16_t* q = nullptr;
  const float* scale = nullptr;
  const float* sums = nullptr;
};

ManyRows round_tiles(const at::Tensor& x, LinearContext& context) {
  constexpr int64_t kRows = kernels::kLinearTileRows;
  const int64_t in = x.size(1), tiles = (x.size(0) + kRows - 1) / kRows;
  auto* q = static_cast<int16_t*>(context.rounded.matrix(tiles * kRows, in, at::kShort).data_ptr());
  float* scale = context.scales.floats(2 * tiles * kRows * in / 32);
  float* sums = scale + tiles * kRows * in / 32;
  parallel_for(tiles, 8, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t first = t * kRows;
      kernels::round_tile_q15(x.const_data_ptr<float>() + first * x.stride(0), x.stride(0),
                              std::min(kRows, x.size(0) - first), in, q + first * in, scale + first * in / 32,
                              sums + first * in / 32);
    }
  });
  return {q, scale, sums};
}

void multiply_integers(const ManyRows& rows, int64_t num_rows, const LinearTarget& target) {
  const Weight& weight = *target.weight;
  const kernels::LinearMatrixParams params{
      .weight_type = weight.dtype,
      .weight = weight.data,
      .weight_row_bytes = weight.row_bytes(),
      .x = rows.q,
      .x_scale = rows.scale,
      .x_sums = rows.sums,
      .bias = weight.bias.defined() ? weight.bias.const_data_ptr<float>() : nullptr,
      .y = target.y.data_ptr<float>(),
      .y_stride = target.y.stride(0),
      .rows = num_rows,
      .in = weight.in};
  constexpr int64_t kPanel = kernels::kLinearPanel;
  parallel_each((weight.out + kPanel - 1) / kPanel, [&](int64_t panel) {
    kernels::linear_matrix_q15(params, panel * kPanel, std::min((panel + 1) * kPanel, weight.out));
  });
}

void linear_many_rows(const at::Tensor& x, std::span<const LinearTarget> targets, LinearContext& context) {
  const bool round = context.compute == at::kBFloat16 && x.scalar_type() == at::kFloat;
  const at::Tensor rows = round ? context.rounded.matrix(x.size(0), x.size(1), at::kBFloat16).copy_(x) : x;
  ManyRows tiles;
  for (const LinearTarget& target : targets) {
    if (context.compute == at::kFloat && context.integers && is_quantised(target.weight->dtype)) {
      if (tiles.q == nullptr) tiles = round_tiles(x, context);
      multiply_integers(tiles, x.size(0), target);
    } else if (context.compute == at::kBFloat16) {
      multiply_bf16(rows, *target.weight, target.y, context);
    } else {
      multiply_f32(rows, *target.weight, target.y, context);
    }
    add_low_rank(x, target.weight->low_rank, target.y, context.compute);
  }
}

bool are_few(int64_t rows, const Weight& weight, const LinearContext& context) {
  const bool whole = context.compute == at::kFloat && context.integers && is_quantised(weight.dtype);
  return rows <= (whole ? kernels::most_rows_q15() : kFewRows);
}

void check_shapes(const at::Tensor& x, const Weight& weight, const at::Tensor& y) {
  BEACON_CHECK(x.dim() == 2 && x.size(1) == weight.in && y.size(0) == x.size(0) && y.size(1) == weight.out);
  BEACON_CHECK(x.stride(1) == 1 && y.stride(1) == 1);
}

}  // namespace

void linear(const at::Tensor& x, const Weight& weight, const at::Tensor& y, LinearContext& context) {
  const LinearTarget target{&weight, y};
  linear_group(x, {&target, 1}, context);
}

void linear_group(const at::Tensor& x, std::span<const LinearTarget> targets, LinearContext& context) {
  for (const LinearTarget& target : targets) check_shapes(x, *target.weight, target.y);
  if (x.size(0) == 0) return;
  if (!x.is_cpu()) return linear_on_device(x, targets, context.compute);
  c10::SmallVector<LinearTarget, 3> few, many;
  for (const LinearTarget& target : targets)
    (are_few(x.size(0), *target.weight, context) ? few : many).push_back(target);
  if (!few.empty()) linear_few_rows(x, {few.data(), few.size()}, context);
  if (!many.empty()) linear_many_rows(x, {many.data(), many.size()}, context);
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
