// Norm, feed-forward gate and rotation.
#include "kernels/cpu/elements.h"
#include "kernels/cpu/exp.h"
#include "kernels/cpu/functions.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

template <DType kX>
float inverse_size(const NormRows& p, int64_t first) {
  VF even = {};
  VF odd = {};
  for (int64_t i = 0; i < p.cols; i += 2 * kLanes) {
    const VF a = read<kX>(p.x, first + i, p.cols - i);
    const VF b = i + kLanes < p.cols ? read<kX>(p.x, first + i + kLanes, p.cols - i - kLanes) : VF{};
    even = multiply_add(a, a, even);
    odd = multiply_add(b, b, odd);
  }
  return 1.0F / __builtin_sqrtf(sum_lanes(even + odd) / static_cast<float>(p.cols) + p.eps);
}

template <DType kX, DType kY>
void add_branch(const NormRows& p, int64_t first) {
  for (int64_t i = 0; i < p.cols; i += kLanes) {
    const int64_t n = p.cols - i;
    const VF sum = read<kX>(p.x, first + i, n) + read<kY>(p.branch, first + i, n);
    write<DType::kF32>(p.sum, first + i, n, sum);
  }
}

template <DType kX, DType kY>
void norm_row(const NormRows& p, int64_t first) {
  const float inverse = inverse_size<kX>(p, first);
  for (int64_t i = 0; i < p.cols; i += kLanes) {
    const int64_t n = p.cols - i;
    const VF weight = read<DType::kF32>(p.weight, i, n);
    write<kY>(p.y, first + i, n, read<kX>(p.x, first + i, n) * inverse * weight);
  }
}

template <DType kX, DType kY>
void norm_row_backward(const NormRows& p, int64_t first) {
  const float inverse = inverse_size<kX>(p, first);
  const auto slope = [&](int64_t i, int64_t n) {
    return read<kY>(p.dy, first + i, n) * read<DType::kF32>(p.weight, i, n);
  };
  VF sums = {};
  for (int64_t i = 0; i < p.cols; i += kLanes) {
    const int64_t n = p.cols - i;
    sums = multiply_add(slope(i, n), read<kX>(p.x, first + i, n), sums);
  }
  const float along = sum_lanes(sums) * inverse * inverse / static_cast<float>(p.cols);
  for (int64_t i = 0; i < p.cols; i += kLanes) {
    const int64_t n = p.cols - i;
    write<kX>(p.dx, first + i, n, inverse * (slope(i, n) - along * read<kX>(p.x, first + i, n)));
  }
}

BEACON_INLINE VF sigmoid(VF x) { return 1.0F / (1.0F + exp_full(-x)); }

template <DType kType>
void swiglu_vector(const SwigluArrays& p, int64_t i, int64_t n) {
  const VF gate = read<kType>(p.gate, i, n);
  write<kType>(p.out, i, n, gate * sigmoid(gate) * read<kType>(p.up, i, n));
}

template <DType kType>
void swiglu_vector_backward(const SwigluArrays& p, int64_t i, int64_t n) {
  const VF gate = read<kType>(p.gate, i, n);
  const VF dout = read<kType>(p.dout, i, n);
  const VF open = sigmoid(gate);
  const VF value = gate * open;
  const VF up = read<kType>(p.up, i, n);
  write<kType>(p.dup, i, n, dout * value);
  write<kType>(p.dgate, i, n, dout * up * (open + value * (1.0F - open)));
}

template <DType kX, DType kY>
void rotate_head(const RotateRows& p, int64_t x, int64_t y, const float* cos, const float* sin, float sign) {
  const int64_t half = p.head_dim / 2;
  for (int64_t i = 0; i < half; i += kLanes) {
    const int64_t n = half - i;
    const VF a = read<kX>(p.x, x + i, n);
    const VF b = read<kX>(p.x, x + half + i, n);
    const VF c = read<DType::kF32>(cos, i, n);
    const VF s = read<DType::kF32>(sin, i, n) * sign;
    write<kY>(p.y, y + i, n, a * c - b * s);
    write<kY>(p.y, y + half + i, n, b * c + a * s);
  }
}

// Calls body with both types.
template <typename Body>
BEACON_INLINE void with_types(DType first, DType second, const Body& body) {
  with_type(first, [&](auto a) { with_type(second, [&](auto b) { body(a, b); }); });
}

}  // namespace

void rms_norm_forward(const NormRows& p, int64_t begin, int64_t end) noexcept {
  NormRows summed = p;
  summed.x = p.sum;
  with_types(p.x_type, p.y_type, [&](auto x, auto y) {
    constexpr DType kX = decltype(x)::kValue;
    constexpr DType kY = decltype(y)::kValue;
    for (int64_t r = begin; r < end; ++r) {
      if (p.branch == nullptr) {
        norm_row<kX, kY>(p, r * p.cols);
      } else {
        add_branch<kX, kY>(p, r * p.cols);
        norm_row<DType::kF32, kY>(summed, r * p.cols);
      }
    }
  });
}

void rms_norm_backward(const NormRows& p, int64_t begin, int64_t end) noexcept {
  with_types(p.x_type, p.y_type, [&](auto x, auto y) {
    for (int64_t r = begin; r < end; ++r)
      norm_row_backward<decltype(x)::kValue, decltype(y)::kValue>(p, r * p.cols);
  });
}

void swiglu_forward(const SwigluArrays& p, int64_t begin, int64_t end) noexcept {
  with_type(p.type, [&](auto type) {
    for (int64_t i = begin; i < end; i += kLanes) swiglu_vector<decltype(type)::kValue>(p, i, end - i);
  });
}

void swiglu_backward(const SwigluArrays& p, int64_t begin, int64_t end) noexcept {
  with_type(p.type, [&](auto type) {
    for (int64_t i = begin; i < end; i += kLanes)
      swiglu_vector_backward<decltype(type)::kValue>(p, i, end - i);
  });
}

void rotate_rows(const RotateRows& p, int64_t begin, int64_t end) noexcept {
  const float sign = p.backwards ? -1.0F : 1.0F;
  const int64_t half = p.head_dim / 2;
  with_types(p.x_type, p.y_type, [&](auto x, auto y) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t angle = r % p.table_rows * half;
      for (int64_t n = 0; n < p.heads; ++n) {
        rotate_head<decltype(x)::kValue, decltype(y)::kValue>(p, r * p.x_row_stride + n * p.x_head_stride,
                                                              r * p.y_row_stride + n * p.y_head_stride,
                                                              p.cos + angle, p.sin + angle, sign);
      }
    }
  });
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
