#include "ops/autograd/rope.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include "base/check.h"

namespace beacon::ops::autograd {
namespace {

at::Tensor rope_plain(const at::Tensor& x, const RopeTable& table) {
  const auto halves = x.to(at::kFloat).chunk(2, -1);
  const at::Tensor cos = table.cos.unsqueeze(1), sin = table.sin.unsqueeze(1);  // [T, 1, H / 2]
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
}

}  // namespace

at::Tensor rope(const at::Tensor& x, const RopeTable& table, const RecordingContext& context) {
  BEACON_CHECK(x.dim() == 4 && table.cos.size(0) == x.size(1) && 2 * table.cos.size(1) == x.size(3));
  return rope_plain(x, table).to(context.compute);
}

}  // namespace beacon::ops::autograd
