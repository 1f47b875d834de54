#include "io/convert_lora.h"

#include <cstring>

#include "base/check.h"
#include "kernels/convert.h"

namespace beacon {
namespace {

std::vector<float> to_f32(const TensorView& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  kernels::dequantize_row(tensor.dtype, tensor.bytes.data(), values.data(), tensor.elements());
  return values;
}

// n elements back into a type that check_lora_fits() lets through.
void put(DType dtype, const float* values, std::byte* out, int64_t n) {
  if (dtype == DType::kF32) {
    std::memcpy(out, values, static_cast<size_t>(n) * sizeof(float));
  } else if (dtype == DType::kBF16) {
    kernels::f32_to_bf16(values, reinterpret_cast<uint16_t*>(out), n);
  } else {
    kernels::f32_to_f16(values, reinterpret_cast<uint16_t*>(out), n);
  }
}

std::vector<std::byte> merged(const TensorView& weight, const TensorView& a, const TensorView& b,
                              double scale) {
  const int64_t out = weight.shape[0], in = weight.shape[1], rank = a.shape[0];
  const std::vector<float> down = to_f32(a), up = to_f32(b);
  std::vector<std::byte> bytes(weight.bytes.size());
  const size_t row_bytes = bytes.size() / static_cast<size_t>(out);
  std::vector<float> row(static_cast<size_t>(in)), change(static_cast<size_t>(in));
  for (int64_t o = 0; o < out; ++o) {
    const size_t at = static_cast<size_t>(o) * row_bytes;
    kernels::dequantize_row(weight.dtype, weight.bytes.data() + at, row.data(), in);
    std::fill(change.begin(), change.end(), 0.0F);
    for (int64_t j = 0; j < rank; ++j) {
      const float factor = up[static_cast<size_t>(o * rank + j)];
      const float* direction = down.data() + j * in;
      for (int64_t i = 0; i < in; ++i) change[static_cast<size_t>(i)] += factor * direction[i];
    }
    for (size_t i = 0; i < row.size(); ++i) row[i] += static_cast<float>(scale) * change[i];
    put(weight.dtype, row.data(), bytes.data() + at, in);
  }
  return bytes;
}

}  // namespace

void check_lora_fits(const TensorView& tensor, const LoraTensorName& name, const Checkpoint& base) {
  const TensorView* weight = base.find(name.base());
  require(weight != nullptr && weight->shape.size() == 2, ErrorCode::kMismatch,
          "the adapter has {}, but the base {} has no matrix {}", tensor.name, base.path().string(),
          name.base());
  std::vector<int64_t> expected = tensor.shape;
  if (name.matrix == 'A') {
    expected.at(1) = weight->shape[1];
  } else {
    expected.at(0) = weight->shape[0];
  }
  require(tensor.shape == expected, ErrorCode::kMismatch,
          "tensor {} should have shape {} to fit {}, found {}", tensor.name, shape_to_string(expected),
          base.path().string(), shape_to_string(tensor.shape));
  require(weight->dtype == DType::kF32 || weight->dtype == DType::kBF16 || weight->dtype == DType::kF16,
          ErrorCode::kUnsupported,
          "{}: LoRA is merged into weights of F32, BF16 or F16, but {} is {}; use the adapter as it is",
          base.path().string(), name.base(), dtype_info(weight->dtype).name);
  require(kernels::is_weight_type(tensor.dtype), ErrorCode::kUnsupported,
          "tensor {} has element type {}; a number type was expected", tensor.name,
          dtype_info(tensor.dtype).name);
}

std::vector<std::vector<std::byte>> merge_lora(std::vector<TensorView>& tensors, const Adapter& adapter) {
  std::vector<std::vector<std::byte>> buffers;
  if (!adapter.config().lora) return buffers;
  for (const TensorView& b : adapter.tensors()) {
    const auto name = parse_lora_tensor_name(b.name);
    if (!name || name->matrix != 'B') continue;
    const TensorView* a = adapter.find(LoraTensorName{name->layer, name->target, 'A'}.text());
    for (TensorView& weight : tensors) {
      if (weight.name != name->base()) continue;
      buffers.push_back(merged(weight, *a, b, adapter.config().lora->scale()));
      weight.bytes = buffers.back();
    }
  }
  return buffers;
}

}  // namespace beacon
