// Rows of keys and values in blocks of 8-bit integers.
#pragma once

#include "base/dtype.h"
#include "kernels/cpu/half.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// Bytes of the unit in which strides of keys and values count.
BEACON_INLINE int64_t stride_unit(DType type) {
  return type == DType::kQ8_0 ? 1 : type == DType::kBF16 ? 2 : 4;
}

// n elements (a multiple of 32) of Q8_0 as floats.
BEACON_INLINE void widen_q8_0(const uint8_t* src, int64_t n, float* dst) {
  for (int64_t b = 0; b < n / 32; ++b) {
    const uint8_t* block = src + 34 * b;
    const VF scale = broadcast(f16_at(block));
    BEACON_UNROLL
    for (int v = 0; v < 32 / kLanes; ++v) {
      store(dst + 32 * b + kLanes * v, to_float(widen_s8(block + 2 + kLanes * v)) * scale);
    }
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
