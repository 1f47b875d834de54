#include "ops/tensor_io.h"

#include <ATen/Functions.h>

#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace beacon::ops {
namespace {

constexpr std::array<std::pair<DType, at::ScalarType>, 6> kTypes = {{{DType::kF32, at::kFloat},
                                                                     {DType::kBF16, at::kBFloat16},
                                                                     {DType::kF64, at::kDouble},
                                                                     {DType::kI64, at::kLong},
                                                                     {DType::kI32, at::kInt},
                                                                     {DType::kU8, at::kByte}}};

}  // namespace

at::Tensor copy_of(const TensorView& view) {
  for (const auto& [file_type, type] : kTypes) {
    if (file_type != view.dtype) continue;
    at::Tensor out = at::empty(view.shape, at::TensorOptions().dtype(type));
    BEACON_CHECK(out.nbytes() == view.bytes.size());
    if (!view.bytes.empty()) std::memcpy(out.data_ptr(), view.bytes.data(), view.bytes.size());
    return out;
  }
  fail(ErrorCode::kUnsupported, "tensor {} has element type {}; F32, BF16, F64, I64, I32 or U8 was expected",
       view.name, dtype_info(view.dtype).name);
}

TensorView view_of(const std::string& name, const at::Tensor& tensor) {
  BEACON_CHECK(tensor.is_contiguous() && tensor.device().is_cpu());
  for (const auto& [file_type, type] : kTypes) {
    if (type != tensor.scalar_type()) continue;
    return {name, file_type, tensor.sizes().vec(),
            std::span(static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes())};
  }
  fail(ErrorCode::kInternal, "tensor {} has element type {}, which no file of ours holds", name,
       at::toString(tensor.scalar_type()));
}

}  // namespace beacon::ops
