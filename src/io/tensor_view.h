#pragma once
// A tensor inside a mapped file: what every parser of weights hands out.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace beacon {

// Does not own its bytes: they belong to the file object it came from and must not outlive it. The parsers
// guarantee that shape and dtype agree with bytes.size(). Bytes may lie at any address (safetensors promises
// no alignment of its own), so read elements with memcpy or unaligned loads.
struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // outermost first, as in PyTorch; empty for a scalar
  std::span<const std::byte> bytes;

  // Number of elements; the parsers have checked that it does not overflow.
  int64_t elements() const {
    int64_t n = 1;
    for (const int64_t d : shape) n *= d;
    return n;
  }
};

// "[2, 3]", for messages.
std::string shape_to_string(std::span<const int64_t> shape);

}  // namespace beacon
