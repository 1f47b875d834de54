// Blocks of 32 floats rounded to integers; activations as 15-bit ones.
#pragma once

#include "kernels/cpu/vector.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

struct RoundedBlock {
  VI q[32 / kLanes];  // up to 16256 in size
  float scale;        // x is about scale * q; NaN when x has a value that is not finite
};

// Values below 2^22 in size: adding 1.5 * 2^23 rounds to the nearest even integer and leaves it in the low
// bits.
BEACON_INLINE VI round_to_int(VF v) { return as_int(v + 12582912.0F) - as_int(broadcast(12582912.0F)); }

struct BlockSize {
  float largest;  // |x|
  bool finite;    // all of them
};

BEACON_INLINE BlockSize size_of_block(const float* x) {
  VF size = {};
  VF poison = {};
  BEACON_UNROLL
  for (int v = 0; v < 32 / kLanes; ++v) {
    const VF value = load(x + kLanes * v);
    size = larger(as_float(as_bits(value) & 0x7FFFFFFFU), size);
    poison = poison + (value - value);  // 0, or NaN from a NaN or an infinity
  }
  return {largest_lane(size), sum_lanes(poison) == 0.0F};
}

BEACON_INLINE RoundedBlock round_block(const float* x) {
  const auto [largest, finite] = size_of_block(x);
  // Below this the inverse would overflow; such a block is zero for every purpose.
  const bool zero = largest < 1e-30F;
  const float inverse = zero || !finite ? 0.0F : 16256.0F / largest;
  RoundedBlock block;
  BEACON_UNROLL
  for (int v = 0; v < 32 / kLanes; ++v) {
    block.q[v] = finite ? round_to_int(load(x + kLanes * v) * inverse) : VI{};
  }
  block.scale = !finite ? __builtin_nanf("") : zero ? 0.0F : largest / 16256.0F;
  return block;
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
