#pragma once
// Random weight rows of every type, for the tests of the linear kernels.
#include <cstring>

#include "kernel_test.h"
#include "kernels/linear.h"
#include "kernels/reference/reference.h"

namespace beacon::kernels {

// Random bits with ordinary f16 scales; rows are `row_bytes` apart, with some unused bytes between them.
struct WeightRows {
  DType type;
  int64_t out;
  int64_t in;
  int64_t row_bytes;
  std::vector<std::byte> bytes;

  const std::byte* row(int64_t o) const { return bytes.data() + o * row_bytes; }
  std::vector<float> values(int64_t o) const {
    std::vector<float> values(static_cast<size_t>(in));
    reference::dequantize_row(type, row(o), values.data(), in);
    return values;
  }
};

inline WeightRows random_weights(DType type, int64_t out, int64_t in, std::mt19937& random) {
  const auto info = dtype_info(type);
  const int64_t used = in / info.block_elements * info.block_bytes;
  WeightRows rows{type, out, in, used + 5, std::vector<std::byte>(static_cast<size_t>(out * (used + 5) - 5))};
  std::normal_distribution<float> draw(0.0F, 1.0F);
  for (std::byte& byte : rows.bytes) byte = static_cast<std::byte>(random() & 255);
  for (int64_t o = 0; o < out; ++o) {
    std::byte* row = rows.bytes.data() + o * rows.row_bytes;
    for (int64_t b = 0; b < used; b += info.block_bytes) {
      const float value = draw(random);
      const uint16_t bf16 = reference::f32_to_bf16_one(value);
      if (type == DType::kF32) std::memcpy(row + b, &value, sizeof value);
      if (type == DType::kBF16) std::memcpy(row + b, &bf16, sizeof bf16);
      for (const int64_t offset : {int64_t{0}, int64_t{2}}) {
        const uint16_t scale = reference::f32_to_f16_one(draw(random) * (type == DType::kF16 ? 1.0F : 0.05F));
        const bool minimum =
            type == DType::kQ4_1 || type == DType::kQ5_1 || type == DType::kQ4_K || type == DType::kQ5_K;
        if (type == DType::kF32 || type == DType::kBF16 || (offset == 2 && !minimum)) continue;
        std::memcpy(row + b + (type == DType::kQ6_K ? 208 : offset), &scale, sizeof scale);
      }
    }
  }
  return rows;
}

}  // namespace beacon::kernels
