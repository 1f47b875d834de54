#include "io/rope_permutation.h"

#include <cstring>

#include "base/check.h"

namespace beacon {

void unpermute_rows(std::span<const std::byte> src, std::span<std::byte> dst, int64_t rows,
                    int64_t head_dim) {
  require(rows > 0 && head_dim > 0 && head_dim % 2 == 0 && rows % head_dim == 0 && src.size() == dst.size() &&
              src.size() % static_cast<size_t>(rows) == 0,
          ErrorCode::kInvalidArgument, "cannot reorder {} rows in {} bytes (room for {}) by heads of {}",
          rows, src.size(), dst.size(), head_dim);
  const size_t row_bytes = src.size() / static_cast<size_t>(rows);
  for (int64_t row = 0; row < rows; ++row) {
    const auto from = static_cast<size_t>(gguf_row_of_hf_row(row, head_dim));
    std::memcpy(dst.data() + static_cast<size_t>(row) * row_bytes, src.data() + from * row_bytes, row_bytes);
  }
}

}  // namespace beacon
