#pragma once
// Weights for tests: random numbers put into the block formats by the definition of GGUF, and what they then
// stand for.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "base/dtype.h"
#include "ops/linear.h"

namespace beacon::testing {

struct MadeWeight {
  ops::Weight weight;
  at::Tensor values;  // f64 [O, I], what the blocks hold
};

inline void put_half(std::byte* at_byte, double value) {
  const c10::Half half(static_cast<float>(value));
  std::memcpy(at_byte, &half.x, sizeof half.x);
}

inline double as_half(double value) { return static_cast<float>(c10::Half(static_cast<float>(value))); }

// Q8_0: scale, then 32 signed bytes.
inline void put_q8_0(const float* x, std::byte* block, double* values) {
  double largest = 0;
  for (int i = 0; i < 32; ++i) largest = std::max<double>(largest, std::fabs(x[i]));
  const double scale = as_half(largest / 127);
  put_half(block, scale);
  for (int i = 0; i < 32; ++i) {
    const double q = std::clamp(std::nearbyint(x[i] / scale), -127.0, 127.0);
    block[2 + i] = static_cast<std::byte>(static_cast<int8_t>(q));
    values[i] = q * scale;
  }
}

// Q4_1: scale, minimum, then 16 bytes; element i in the low half of byte i, element 16 + i in its high half.
inline void put_q4_1(const float* x, std::byte* block, double* values) {
  const auto [least, most] = std::minmax_element(x, x + 32);
  const double scale = as_half((static_cast<double>(*most) - *least) / 15), minimum = as_half(*least);
  put_half(block, scale);
  put_half(block + 2, minimum);
  for (int i = 0; i < 32; ++i) {
    const double q = std::clamp(std::nearbyint((x[i] - minimum) / scale), 0.0, 15.0);
    std::byte& packed = block[4 + i % 16];
    packed =
        (i < 16 ? std::byte{0} : packed) | static_cast<std::byte>(static_cast<int>(q) << (i < 16 ? 0 : 4));
    values[i] = q * scale + minimum;
  }
}

// A weight that holds `x` [O, I] (f32) in the given type, its first byte `offset` bytes behind an aligned
// address.
inline MadeWeight make_weight(DType type, const at::Tensor& x, size_t offset = 0) {
  MadeWeight made;
  ops::Weight& w = made.weight;
  w.dtype = type;
  w.out = x.size(0);
  w.in = x.size(1);
  auto bytes = std::make_shared<std::vector<std::byte>>(offset + static_cast<size_t>(w.bytes()));
  std::byte* data = bytes->data() + offset;
  w.data = data;
  w.owner = bytes;
  const at::Tensor source = x.contiguous();
  made.values = source.to(at::kDouble);
  if (type == DType::kF32) std::memcpy(data, source.const_data_ptr(), static_cast<size_t>(w.bytes()));
  if (type == DType::kBF16) {
    const at::Tensor rounded = source.to(at::kBFloat16);
    std::memcpy(data, rounded.const_data_ptr(), static_cast<size_t>(w.bytes()));
    made.values = rounded.to(at::kDouble);
  }
  if (is_quantised(type)) {
    const auto put = type == DType::kQ8_0 ? put_q8_0 : put_q4_1;
    for (int64_t block = 0; block < x.numel() / 32; ++block) {
      put(source.const_data_ptr<float>() + block * 32, data + block * dtype_info(type).block_bytes,
          made.values.data_ptr<double>() + block * 32);
    }
  }
  return made;
}

}  // namespace beacon::testing
