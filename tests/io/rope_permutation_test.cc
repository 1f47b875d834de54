#include "io/rope_permutation.h"

#include <set>

#include "io_test.h"

namespace beacon {
namespace {

// llama.cpp's converter as array operations: reshape(heads, 2, H/2, columns), swap axes 1 and 2, flatten. So
// the HF row (head, part, i) lands at GGUF row (head, i, part).
std::vector<int> permute_as_the_converter(const std::vector<int>& rows, int heads, int head_dim) {
  std::vector<int> out;
  for (int head = 0; head < heads; ++head) {
    for (int i = 0; i < head_dim / 2; ++i) {
      for (int part = 0; part < 2; ++part) out.push_back(rows[head * head_dim + part * (head_dim / 2) + i]);
    }
  }
  return out;
}

TEST(RopePermutation, HandMadeHeads) {
  // Two heads of four rows: HF order 0 1 2 3 | 4 5 6 7 lies in GGUF as 0 2 1 3 | 4 6 5 7.
  const int64_t expected[] = {0, 2, 1, 3, 4, 6, 5, 7};
  for (int64_t gguf_row = 0; gguf_row < 8; ++gguf_row) {
    EXPECT_EQ(gguf_row_of_hf_row(expected[gguf_row], 4), gguf_row);
  }
}

TEST(RopePermutation, UndoesTheConverter) {
  for (const int heads : {1, 3}) {
    for (const int head_dim : {2, 6, 64}) {
      std::vector<int> hf(static_cast<size_t>(heads * head_dim));
      for (size_t i = 0; i < hf.size(); ++i) hf[i] = static_cast<int>(i * 7 + 1);
      const std::vector<int> gguf = permute_as_the_converter(hf, heads, head_dim);
      std::vector<int> back(hf.size());
      unpermute_rows(std::as_bytes(std::span(gguf)), std::as_writable_bytes(std::span(back)),
                     heads * head_dim, head_dim);
      EXPECT_EQ(back, hf) << heads << " heads of " << head_dim;
    }
  }
}

TEST(RopePermutation, RefusesSizesThatDoNotAgree) {
  std::vector<std::byte> a(24), b(20);
  constexpr auto kCode = ErrorCode::kInvalidArgument;
  expect_error(kCode, {"cannot reorder"}, [&] { unpermute_rows(a, b, 4, 4); });
  expect_error(kCode, {"cannot reorder"}, [&] { unpermute_rows(a, a, 6, 4); });
  expect_error(kCode, {"cannot reorder"}, [&] { unpermute_rows(a, a, 3, 3); });
  expect_error(kCode, {"cannot reorder"}, [&] { unpermute_rows(a, a, 0, 4); });
}

}  // namespace
}  // namespace beacon
