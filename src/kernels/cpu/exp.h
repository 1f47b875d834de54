// e^x in vectors.
#pragma once

#include "kernels/cpu/vector.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// x = n ln 2 + r with |r| <= ln 2 / 2. e^r = 1 + r + r^2 q(r), where q is the least-squares polynomial
// reweighted to equal ripples: relative error 1.1e-7. Rounding adds about as much.
struct Reduced {
  VF power;  // e^r
  VI n;
};

BEACON_INLINE Reduced reduce_exp(VF x) {
  // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
  const VF shifted = multiply_add(x, broadcast(1.44269504F), broadcast(12582912.0F));
  const VF n = shifted - 12582912.0F;
  // ln 2 in two parts, the first with so few bits that n times it is exact.
  VF r = multiply_add(n, broadcast(-0.693359375F), x);
  r = multiply_add(n, broadcast(2.12194440e-4F), r);
  VF q = broadcast(0x1.10626ap-7F);
  q = multiply_add(q, r, broadcast(0x1.572a06p-5F));
  q = multiply_add(q, r, broadcast(0x1.5557aep-3F));
  q = multiply_add(q, r, broadcast(0x1.fffdfcp-2F));
  const VF power = multiply_add(q, r * r, r + 1.0F);
  return {power, as_int(shifted) - as_int(broadcast(12582912.0F))};
}

// For x <= 0 (or NaN): results below 2^-126 are zero.
BEACON_INLINE VF exp_nonpositive(VF x) {
  const Reduced reduced = reduce_exp(x);
  const VF scale = as_float((reduced.n + 127) << 23);
  // As a mask and not as a choice, so that a NaN passes.
  return as_float(as_int(reduced.power * scale) & ~(x < -87.0F));
}

// For every x. 2^n is applied in two steps, so that results reach from the subnormal numbers to the largest
// ones.
BEACON_INLINE VF exp_full(VF x) {
  // The bounds come first in the comparisons: a NaN passes through them.
  VF bounded = select(x > 89.0F, broadcast(89.0F), x);
  bounded = select(x < -104.0F, broadcast(-104.0F), bounded);
  const Reduced reduced = reduce_exp(bounded);
  const VI half = reduced.n >> 1;
  const VF first = as_float((half + 127) << 23);
  const VF second = as_float((reduced.n - half + 127) << 23);
  return reduced.power * first * second;
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
