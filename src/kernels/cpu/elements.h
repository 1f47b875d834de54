// Reading and writing vectors of f32 or bf16 elements as floats.
#pragma once

#include "base/dtype.h"
#include "kernels/cpu/half.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// The vector of elements [i, i + kLanes), of which the first n exist; the others are `fill`.
template <DType kType>
BEACON_INLINE VF read(const void* data, int64_t i, int64_t n, float fill = 0.0F) {
  if constexpr (kType == DType::kBF16) {
    const uint16_t* from = static_cast<const uint16_t*>(data) + i;
    if (n >= kLanes) return bf16_to_float(load_half(from));
    VF part = broadcast(fill);
    for (int64_t lane = 0; lane < n; ++lane)
      part[lane] = bf16_at(reinterpret_cast<const uint8_t*>(from + lane));
    return part;
  } else {
    const float* from = static_cast<const float*>(data) + i;
    return n >= kLanes ? load(from) : load_part(from, n, fill);
  }
}

template <DType kType>
BEACON_INLINE void write(void* data, int64_t i, int64_t n, VF value) {
  if constexpr (kType == DType::kBF16) {
    uint16_t* to = static_cast<uint16_t*>(data) + i;
#if defined(__AVX512BF16__)
    const VH half = (VH)_mm512_cvtneps_pbh((__m512)value);
#else
    const VH half = float_to_bf16(value);
#endif
    if (n >= kLanes) return store_half(to, half);
    for (int64_t lane = 0; lane < n; ++lane) to[lane] = half[lane];
  } else {
    float* to = static_cast<float*>(data) + i;
    if (n >= kLanes) return store(to, value);
    store_part(to, value, n);
  }
}

template <DType kType>
BEACON_INLINE float read_one(const void* data, int64_t i) {
  if constexpr (kType == DType::kBF16) {
    return bf16_at(reinterpret_cast<const uint8_t*>(static_cast<const uint16_t*>(data) + i));
  } else {
    return static_cast<const float*>(data)[i];
  }
}

// A type as a value whose type tells it.
template <DType kType>
struct ElementType {
  static constexpr DType kValue = kType;
};

// Calls body with the ElementType of a type that is kF32 or kBF16.
template <typename Body>
BEACON_INLINE void with_type(DType type, const Body& body) {
  if (type == DType::kBF16) {
    body(ElementType<DType::kBF16>{});
  } else {
    body(ElementType<DType::kF32>{});
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
