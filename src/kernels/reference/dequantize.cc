// GGUF block formats, one element at a time.
#include <cstring>

#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {
namespace {

uint8_t byte_at(const std::byte* block, int64_t offset) { return static_cast<uint8_t>(block[offset]); }

float half_at(const std::byte* block, int64_t offset) {
  return f16_to_f32_one(static_cast<uint16_t>(byte_at(block, offset) | (byte_at(block, offset + 1) << 8)));
}

// The nibble of element i: the first 16 elements are the low halves of 16 bytes, the others the high halves.
int nibble(const std::byte* block, int64_t offset, int64_t i) {
  const int packed = byte_at(block, offset + i % 16);
  return i < 16 ? packed & 15 : packed >> 4;
}

// Bit i of the 32 fifth bits.
int fifth_bit(const std::byte* block, int64_t offset, int64_t i) {
  return (byte_at(block, offset + i / 8) >> (i % 8)) & 1;
}

float q8_0(const std::byte* block, int64_t i) {
  return half_at(block, 0) * static_cast<float>(static_cast<int8_t>(byte_at(block, 2 + i)));
}

float q4_0(const std::byte* block, int64_t i) {
  return half_at(block, 0) * static_cast<float>(nibble(block, 2, i) - 8);
}

float q4_1(const std::byte* block, int64_t i) {
  return half_at(block, 0) * static_cast<float>(nibble(block, 4, i)) + half_at(block, 2);
}

float q5_0(const std::byte* block, int64_t i) {
  return half_at(block, 0) * static_cast<float>(nibble(block, 6, i) + 16 * fifth_bit(block, 2, i) - 16);
}

float q5_1(const std::byte* block, int64_t i) {
  return half_at(block, 0) * static_cast<float>(nibble(block, 8, i) + 16 * fifth_bit(block, 4, i)) +
         half_at(block, 2);
}

// The 6-bit scale and minimum of sub-block j (of 8), spread over 12 bytes.
void k_scale_min(const std::byte* scales, int64_t j, int& scale, int& minimum) {
  if (j < 4) {
    scale = byte_at(scales, j) & 63;
    minimum = byte_at(scales, j + 4) & 63;
  } else {
    scale = (byte_at(scales, j + 4) & 15) | ((byte_at(scales, j - 4) >> 6) << 4);
    minimum = (byte_at(scales, j + 4) >> 4) | ((byte_at(scales, j) >> 6) << 4);
  }
}

// Element i of a Q4_K or Q5_K block whose nibbles begin at `nibbles` and whose fifth bits, if any, at `high`.
float k_4_or_5(const std::byte* block, int64_t i, int64_t nibbles, int64_t high) {
  const int64_t sub = i / 32;
  int scale = 0;
  int minimum = 0;
  k_scale_min(block + 4, sub, scale, minimum);
  const int packed = byte_at(block, nibbles + (sub / 2) * 32 + i % 32);
  int q = sub % 2 == 0 ? packed & 15 : packed >> 4;
  if (high > 0) q += 16 * ((byte_at(block, high + i % 32) >> sub) & 1);
  return half_at(block, 0) * static_cast<float>(scale) * static_cast<float>(q) -
         half_at(block, 2) * static_cast<float>(minimum);
}

float q6_k(const std::byte* block, int64_t i) {
  const int64_t half = i / 128;
  const int64_t quarter = i % 128 / 32;
  const int64_t lane = i % 32;
  const int packed = byte_at(block, half * 64 + (quarter % 2) * 32 + lane);
  const int low = quarter < 2 ? packed & 15 : packed >> 4;
  const int high = (byte_at(block, 128 + half * 32 + lane) >> (2 * quarter)) & 3;
  const auto scale = static_cast<int8_t>(byte_at(block, 192 + i / 16));
  return half_at(block, 208) * static_cast<float>(scale) * static_cast<float>((low | (high << 4)) - 32);
}

float element(DType type, const std::byte* block, int64_t i) {
  switch (type) {
    case DType::kF32: {
      float value = 0;
      std::memcpy(&value, block, sizeof value);
      return value;
    }
    case DType::kF16:
      return half_at(block, 0);
    case DType::kBF16:
      return bf16_to_f32_one(static_cast<uint16_t>(byte_at(block, 0) | (byte_at(block, 1) << 8)));
    case DType::kQ8_0:
      return q8_0(block, i);
    case DType::kQ4_0:
      return q4_0(block, i);
    case DType::kQ4_1:
      return q4_1(block, i);
    case DType::kQ5_0:
      return q5_0(block, i);
    case DType::kQ5_1:
      return q5_1(block, i);
    case DType::kQ4_K:
      return k_4_or_5(block, i, 16, 0);
    case DType::kQ5_K:
      return k_4_or_5(block, i, 48, 16);
    case DType::kQ6_K:
      return q6_k(block, i);
    default:
      return 0;
  }
}

}  // namespace

float weight_at(DType type, const std::byte* row, int64_t i) noexcept {
  const auto info = dtype_info(type);
  return element(type, row + i / info.block_elements * info.block_bytes, i % info.block_elements);
}

float element_at(DType type, const void* data, int64_t offset, int64_t i) noexcept {
  const int64_t unit = is_quantised(type) ? 1 : dtype_info(type).block_bytes;
  return weight_at(type, static_cast<const std::byte*>(data) + offset * unit, i);
}

void dequantize_row(DType type, const std::byte* src, float* dst, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) dst[i] = weight_at(type, src, i);
}

void dequantize_row_bf16(DType type, const std::byte* src, uint16_t* dst, int64_t n) noexcept {
  for (int64_t i = 0; i < n; ++i) dst[i] = f32_to_bf16_one(weight_at(type, src, i));
}

}  // namespace beacon::kernels::reference
