#include "ops/key_rows.h"

#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>

#include "base/check.h"
#include "kernels/convert.h"
#include "ops/device_kernels.h"
#include "ops/element_type.h"

namespace beacon::ops {
namespace {

// Calls body(b, k, r) for every row.
template <typename Body>
void for_each_row(const at::Tensor& rows, const Body& body) {
  for (int64_t b = 0; b < rows.size(0); ++b)
    for (int64_t k = 0; k < rows.size(1); ++k)
      for (int64_t r = 0; r < rows.size(2); ++r) body(b, k, r);
}

template <typename T>
T* row_of(T* data, const at::Tensor& x, int64_t b, int64_t k, int64_t r) {
  return data + b * x.stride(0) + k * x.stride(1) + r * x.stride(2);
}

}  // namespace

DType row_dtype(at::ScalarType type) {
  BEACON_CHECK(type == at::kFloat || type == at::kBFloat16 || type == kBlockRows);
  return type == kBlockRows ? DType::kQ8_0 : type == at::kBFloat16 ? DType::kBF16 : DType::kF32;
}

at::ScalarType row_scalar(DType type) {
  BEACON_CHECK(type == DType::kF32 || type == DType::kBF16 || type == DType::kQ8_0);
  return type == DType::kQ8_0 ? kBlockRows : type == DType::kBF16 ? at::kBFloat16 : at::kFloat;
}

int64_t row_width(at::ScalarType type, int64_t head_dim) {
  if (type != kBlockRows) return head_dim;
  BEACON_CHECK(head_dim % dtype_info(DType::kQ8_0).block_elements == 0);
  return static_cast<int64_t>(*dtype_bytes(DType::kQ8_0, static_cast<uint64_t>(head_dim)));
}

int64_t row_head_dim(const at::Tensor& rows) {
  const int64_t width = rows.size(rows.dim() - 1);
  if (rows.scalar_type() != kBlockRows) return width;
  constexpr DTypeInfo kInfo = dtype_info(DType::kQ8_0);
  return width / kInfo.block_bytes * kInfo.block_elements;
}

void store_rows(const at::Tensor& x, const at::Tensor& rows) {
  if (rows.scalar_type() != kBlockRows) {
    at::Tensor target = rows;
    target.copy_(x);
    return;
  }
  const at::Tensor wide = x.to(at::kFloat);
  BEACON_CHECK(x.dim() == 4 && x.size(3) == row_head_dim(rows) && wide.stride(3) == 1 && rows.stride(3) == 1);
  const auto* from = wide.const_data_ptr<float>();
  auto* to = static_cast<std::byte*>(rows.data_ptr());
  for_each_row(rows, [&](int64_t b, int64_t k, int64_t r) {
    kernels::quantize_row_q8_0(row_of(from, wide, b, k, r), row_of(to, rows, b, k, r), x.size(3));
  });
}

bool append_on_device(const at::Tensor& k, const at::Tensor& v, const RopeTable& table,
                      const at::Tensor& k_to, const at::Tensor& v_to, const at::Tensor& k_before) {
  if (k.is_cpu() || k_to.scalar_type() == kBlockRows || !k.is_contiguous() || !v.is_contiguous())
    return false;
  const kernels::DeviceKernels* own = device_kernels(k.device());
  if (own == nullptr) return false;
  BEACON_CHECK(k_to.sizes() == v_to.sizes() && k_to.strides() == v_to.strides() && k_to.stride(3) == 1);
  BEACON_CHECK(k.numel() == k_to.numel() && v.numel() == k.numel() && v.scalar_type() == k.scalar_type());
  BEACON_CHECK(table.cos.size(0) == k_to.size(2) && table.cos.is_contiguous() && table.sin.is_contiguous());
  kernels::DeviceAppend p;
  p.x_type = element_type(k);
  p.k = k.const_data_ptr();
  p.v = v.const_data_ptr();
  p.cos = table.cos.const_data_ptr<float>();
  p.sin = table.sin.const_data_ptr<float>();
  p.to_type = element_type(k_to);
  p.k_to = k_to.data_ptr();
  p.v_to = v_to.data_ptr();
  p.to_head_stride = k_to.stride(1);
  p.to_row_stride = k_to.stride(2);
  if (k_before.defined()) {
    BEACON_CHECK(k_before.sizes() == k_to.sizes() && k_before.stride(3) == 1);
    p.k_before = k_before.data_ptr<float>();
    p.before_head_stride = k_before.stride(1);
    p.before_row_stride = k_before.stride(2);
  }
  p.rows = k_to.size(2);
  p.heads = k_to.size(1);
  p.head_dim = k_to.size(3);
  const c10::DeviceGuard guard(k.device());
  check_launch(own->append(p, kDefaultStream));
  return true;
}

at::Tensor float_rows(const at::Tensor& rows) {
  if (rows.scalar_type() != kBlockRows)
    return rows.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
  const int64_t head_dim = row_head_dim(rows);
  at::Tensor out = at::empty({rows.size(0), rows.size(1), rows.size(2), head_dim}, at::kFloat);
  const auto* from = static_cast<const std::byte*>(rows.const_data_ptr());
  auto* to = out.data_ptr<float>();
  for_each_row(rows, [&](int64_t b, int64_t k, int64_t r) {
    kernels::dequantize_row(DType::kQ8_0, row_of(from, rows, b, k, r), row_of(to, out, b, k, r), head_dim);
  });
  return out;
}

}  // namespace beacon::ops
