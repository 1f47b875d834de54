// Quantised weights as bytes for integer products, kBlocks blocks of 32 elements at a time.
#pragma once

#include "base/dtype.h"
#include "kernels/cpu/half.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

constexpr int kBlocks = kLanes / 4;

typedef uint8_t VB __attribute__((vector_size(4 * kLanes)));
typedef uint8_t VBytes __attribute__((vector_size(4 * kLanes), aligned(1), may_alias));

BEACON_INLINE VB load_bytes(const void* p) { return *static_cast<const VBytes*>(p); }

// What a format's load() leaves: a byte q of block b stands for scale * (q - Format::kOffset) + minimum.
struct ByteWeights {
  VB first;         // elements 0..15 of block b at 16 b
  VB second;        // elements 16..31
  VF scale;         // of block b at 4 b .. 4 b + 3
  VF minimum;       // likewise; only where Format::kHasMinimum
  VF scale_second;  // that of `second` where Format::kTwoScales, `scale` being that of `first`
};

// What the formats have in common. kGroupBytes: of four blocks. kSigned: the bytes are signed; else they are
// below 64, except where the product of unsigned with signed bytes cannot overflow.
template <int group_bytes, int offset, bool has_minimum = false, bool two_scales = false,
          bool is_signed = false>
struct ByteFormat {
  static constexpr int kGroupBytes = group_bytes, kOffset = offset;
  static constexpr int kBlockBytes = 0;  // where blocks of 32 lie one behind the other, theirs
  static constexpr bool kHasMinimum = has_minimum, kTwoScales = two_scales, kSigned = is_signed;
};

#if defined(__AVX512VNNI__)
typedef ByteFormat<136, 128> BytesOfQ8_0;
#else
typedef ByteFormat<136, 0, false, false, true> BytesOfQ8_0;
#endif

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
