#pragma once
// Row order of q_proj and k_proj in llama GGUF files.
#include <cstdint>
#include <span>
#include <vector>

namespace beacon {

// Hugging Face rotates element r of a head with element r + head_dim/2; llama.cpp rotates neighbours 2r and
// 2r + 1, so its converter reorders the rows of every head. Gives the GGUF row that holds row `hf_row` of the
// Hugging Face matrix: within a head, rows 0..H/2-1 lie at the even places, rows H/2..H-1 at the odd ones.
// head_dim is even; valid for weights and biases of q (all query heads) and k (all key heads). Other tensors
// and qwen2 files are not permuted.
constexpr int64_t gguf_row_of_hf_row(int64_t hf_row, int64_t head_dim) {
  const int64_t head = hf_row / head_dim;
  const int64_t r = hf_row % head_dim;
  const int64_t half = head_dim / 2;
  return head * head_dim + (r < half ? 2 * r : 2 * (r - half) + 1);
}

// Copies `rows` rows of row_bytes each from GGUF order (src) to Hugging Face order (dst). Rows of quantised
// types are whole blocks, so they move as they are. Throws kInvalidArgument when the sizes do not agree.
void unpermute_rows(std::span<const std::byte> src, std::span<std::byte> dst, int64_t rows, int64_t head_dim);

}  // namespace beacon
