#include "ops/low_rank.h"

#include <ATen/Functions.h>

#include "base/check.h"

namespace beacon::ops {

void add_low_rank(const at::Tensor& x, const LowRank& low_rank, const at::Tensor& y, at::ScalarType compute) {
  if (!low_rank.defined()) return;
  BEACON_CHECK(low_rank.a.size(1) == x.size(1) && low_rank.b.size(0) == y.size(1));
  const at::Tensor inner = at::mm(x.to(compute), low_rank.a.to(compute).t());
  at::Tensor out = y;
  out.addmm_(inner.to(y.scalar_type()), low_rank.b.to(y.scalar_type()).t(), 1.0, low_rank.scale);
}

at::Tensor expand(const LowRank& low_rank) { return at::mm(low_rank.b, low_rank.a).mul_(low_rank.scale); }

}  // namespace beacon::ops
