#pragma once
// Rows of quantised weights as a GPU keeps them. What a block of 32 holds besides its numbers (scale,
// minimum, fifth bits) would put these at odd addresses, where a lane cannot load several at once. So the
// numbers of all blocks of a row come first, then what else the blocks hold. Blocks of 256 stay whole. Rows
// begin at multiples of 16 bytes.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/dtype.h"

namespace beacon::kernels {

// What stands before the numbers of a block and is kept apart from them.
constexpr int64_t block_header_bytes(DType type) {
  switch (type) {
    case DType::kQ8_0:
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_1:
      return 4;
    case DType::kQ5_0:
      return 6;
    case DType::kQ5_1:
      return 8;
    default:
      return 0;
  }
}

constexpr int64_t device_row_bytes(DType type, int64_t in) {
  constexpr int64_t kAlignment = 16;
  const DTypeInfo info = dtype_info(type);
  const int64_t bytes = in / info.block_elements * info.block_bytes;
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// A row of `in` weights from the file's order into `to`, device_row_bytes() of them; what is left over is
// zero.
inline void split_row(DType type, int64_t in, const std::byte* row, std::byte* to) {
  const DTypeInfo info = dtype_info(type);
  const int64_t blocks = in / info.block_elements, header = block_header_bytes(type);
  const int64_t numbers = info.block_bytes - header;
  std::byte* headers = to + blocks * numbers;
  for (int64_t b = 0; b < blocks; ++b) {
    const std::byte* block = row + b * info.block_bytes;
    std::memcpy(headers + b * header, block, static_cast<size_t>(header));
    std::memcpy(to + b * numbers, block + header, static_cast<size_t>(numbers));
  }
  const int64_t used = blocks * info.block_bytes;
  std::memset(to + used, 0, static_cast<size_t>(device_row_bytes(type, in) - used));
}

}  // namespace beacon::kernels
