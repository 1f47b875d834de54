// The formats of quantised weights as bytes, by type.
#pragma once

#if defined(__AVX512F__)
#include "kernels/cpu/byte_weights_wide_k.h"
#else
#include "kernels/cpu/byte_weights_narrow_k.h"
#endif

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// Calls body(Format()) for a quantised type, nothing for every other.
template <typename Body>
BEACON_INLINE void with_byte_format(DType type, Body body) {
  switch (type) {
    case DType::kQ8_0:
      return body(BytesQ8_0());
    case DType::kQ4_0:
      return body(BytesQ4_0());
    case DType::kQ4_1:
      return body(BytesQ4_1());
    case DType::kQ5_0:
      return body(BytesQ5_0());
    case DType::kQ5_1:
      return body(BytesQ5_1());
    case DType::kQ4_K:
      return body(BytesQ4_K());
    case DType::kQ5_K:
      return body(BytesQ5_K());
    case DType::kQ6_K:
      return body(BytesQ6_K());
    default:
      return;
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
