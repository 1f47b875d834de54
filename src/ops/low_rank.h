#pragma once
// Low-rank changes of dense layers (LoRA, Hu et al. 2021): the weight itself is not touched, so quantised
// blocks stay quantised.
// Letters: R rows of x, I in, O out, r rank.
#include <ATen/core/Tensor.h>

namespace beacon::ops {

// scale * B A, a change of a matrix [O, I]. Copying copies the references.
struct LowRank {
  at::Tensor a;  // f32 [r, I]
  at::Tensor b;  // f32 [O, r]
  double scale = 1.0;

  bool defined() const { return a.defined(); }
};

// y += scale (x A^T) B^T. x [R, I] and y [R, O] with unit column stride, no overlap. x A^T, the longer
// product, is computed in `compute` (at::kFloat or at::kBFloat16), the rest in the type of y. Nothing happens
// when `low_rank` is undefined.
void add_low_rank(const at::Tensor& x, const LowRank& low_rank, const at::Tensor& y, at::ScalarType compute);

// The change as a matrix, f32 [O, I].
at::Tensor expand(const LowRank& low_rank);

}  // namespace beacon::ops
