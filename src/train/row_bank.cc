#include "train/row_bank.h"

#include <ATen/Functions.h>

namespace beacon {

RowBank::RowBank(int64_t layers, int64_t batch, int64_t rows, int64_t width,
                 const at::TensorOptions& options) {
  const auto empty = [&] { return at::empty({batch, rows, width}, options); };
  for (int64_t l = 0; l < layers; ++l) layers_.push_back({{empty(), empty()}, {}});
}

RecordedKv RowBank::gather(int64_t layer, const at::Tensor& index, bool leaves) const {
  const RecordedKv& from = layers_[static_cast<size_t>(layer)].values;
  RecordedKv out{from.k_pre.index_select(1, index), from.v.index_select(1, index)};
  out.k_pre.set_requires_grad(leaves);
  out.v.set_requires_grad(leaves);
  return out;
}

void RowBank::put(int64_t layer, int64_t begin, const at::Tensor& kept, const RecordedKv& step) {
  if (kept.numel() == 0) return;
  const RecordedKv& to = layers_[static_cast<size_t>(layer)].values;
  to.k_pre.narrow(1, begin, kept.numel()).copy_(step.k_pre.detach().index_select(1, kept));
  to.v.narrow(1, begin, kept.numel()).copy_(step.v.detach().index_select(1, kept));
}

void RowBank::add_gradients(int64_t layer, const GradientRows& rows, const RecordedKv& leaf) {
  if (rows.to.numel() == 0) return;
  Layer& to = layers_[static_cast<size_t>(layer)];
  const auto add = [&](const at::Tensor& from, const at::Tensor& values, at::Tensor& sum) {
    if (!from.defined() || !from.grad().defined()) return;
    if (!sum.defined()) sum = at::zeros(values.sizes(), values.options().dtype(at::kFloat));
    const at::Tensor wide = from.grad().to(at::kFloat);
    sum.index_add_(1, rows.to, rows.from.defined() ? wide.index_select(1, rows.from) : wide);
  };
  add(leaf.k_pre, to.values.k_pre, to.gradients.k_pre);
  add(leaf.v, to.values.v, to.gradients.v);
}

RecordedKv RowBank::gradients(int64_t layer, int64_t begin, const at::Tensor& kept, int64_t rows) const {
  const RecordedKv& from = layers_[static_cast<size_t>(layer)].gradients;
  const auto spread = [&](const at::Tensor& sum) -> at::Tensor {
    if (!sum.defined() || kept.numel() == 0) return {};
    at::Tensor out = at::zeros({sum.size(0), rows, sum.size(2)}, sum.options());
    return out.index_copy_(1, kept, sum.narrow(1, begin, kept.numel()));
  };
  return {spread(from.k_pre), spread(from.v)};
}

}  // namespace beacon
