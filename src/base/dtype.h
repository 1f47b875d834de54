#pragma once
// Element types of tensors on disk and in memory, quantised blocks included.
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/checked.h"

namespace beacon {

// The quantised kinds are GGUF's: 32 (or, for K kinds, 256) neighbouring elements of a row share a block.
enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kI8,
  kI16,
  kI32,
  kI64,
  kU8,
  kBool,
  kF64
};

struct DTypeInfo {
  std::string_view name;
  int64_t block_elements;  // 1 for plain types
  int64_t block_bytes;
};

constexpr DTypeInfo dtype_info(DType type) {
  switch (type) {
    case DType::kF32:
      return {"F32", 1, 4};
    case DType::kF16:
      return {"F16", 1, 2};
    case DType::kBF16:
      return {"BF16", 1, 2};
    case DType::kQ8_0:
      return {"Q8_0", 32, 34};
    case DType::kQ4_0:
      return {"Q4_0", 32, 18};
    case DType::kQ4_1:
      return {"Q4_1", 32, 20};
    case DType::kQ5_0:
      return {"Q5_0", 32, 22};
    case DType::kQ5_1:
      return {"Q5_1", 32, 24};
    case DType::kQ4_K:
      return {"Q4_K", 256, 144};
    case DType::kQ5_K:
      return {"Q5_K", 256, 176};
    case DType::kQ6_K:
      return {"Q6_K", 256, 210};
    case DType::kI8:
      return {"I8", 1, 1};
    case DType::kI16:
      return {"I16", 1, 2};
    case DType::kI32:
      return {"I32", 1, 4};
    case DType::kI64:
      return {"I64", 1, 8};
    case DType::kU8:
      return {"U8", 1, 1};
    case DType::kBool:
      return {"BOOL", 1, 1};
    case DType::kF64:
      return {"F64", 1, 8};
  }
  return {"?", 1, 0};
}

constexpr bool is_quantised(DType type) { return dtype_info(type).block_elements > 1; }

// Bytes of `elements` neighbouring elements; nothing when they are not whole blocks or the size overflows.
constexpr std::optional<uint64_t> dtype_bytes(DType type, uint64_t elements) {
  const auto info = dtype_info(type);
  if (elements % static_cast<uint64_t>(info.block_elements) != 0) return std::nullopt;
  return checked_mul(elements / static_cast<uint64_t>(info.block_elements),
                     static_cast<uint64_t>(info.block_bytes));
}

}  // namespace beacon
