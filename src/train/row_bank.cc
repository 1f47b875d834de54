#include "train/row_bank.h"

#include <ATen/Functions.h>

#include "ops/device.h"

namespace beacon {
namespace {

at::Tensor index_like(std::span<const int64_t> index, const at::Tensor& rows) {
  return ops::index_on(rows.device(), std::vector<int64_t>(index.begin(), index.end()));
}

// target[b][index[i]] += source[b][i] for the indexes from `oldest` on. Indexes may repeat: a sink row is
// also condensed.
void add_rows(const at::Tensor& target, std::span<const int64_t> index, int64_t oldest,
              const at::Tensor& source) {
  std::vector<int64_t> to, from;
  for (size_t i = 0; i < index.size(); ++i) {
    if (index[i] < oldest) continue;
    to.push_back(index[i]);
    from.push_back(static_cast<int64_t>(i));
  }
  at::Tensor wide = source.to(at::kFloat), sum = target;
  if (to.size() < index.size()) wide = wide.index_select(1, ops::index_on(target.device(), from));
  sum.index_add_(1, ops::index_on(target.device(), to), wide);
}

}  // namespace

RowBank::RowBank(int64_t layers, int64_t batch, int64_t rows, int64_t width,
                 const at::TensorOptions& options) {
  const auto empty = [&] { return at::empty({batch, rows, width}, options); };
  for (int64_t l = 0; l < layers; ++l) layers_.push_back({{empty(), empty()}, {}});
}

RecordedKv RowBank::gather(int64_t layer, std::span<const int64_t> index, bool leaves) const {
  const RecordedKv& from = layers_[static_cast<size_t>(layer)].values;
  const at::Tensor rows = index_like(index, from.k_pre);
  RecordedKv out{from.k_pre.index_select(1, rows), from.v.index_select(1, rows)};
  out.k_pre.set_requires_grad(leaves);
  out.v.set_requires_grad(leaves);
  return out;
}

void RowBank::put(int64_t layer, int64_t begin, std::span<const int64_t> kept, const RecordedKv& step) {
  if (kept.empty()) return;
  const RecordedKv& to = layers_[static_cast<size_t>(layer)].values;
  const at::Tensor rows = index_like(kept, to.k_pre);
  to.k_pre.narrow(1, begin, rows.numel()).copy_(step.k_pre.detach().index_select(1, rows));
  to.v.narrow(1, begin, rows.numel()).copy_(step.v.detach().index_select(1, rows));
}

void RowBank::add_gradients(int64_t layer, std::span<const int64_t> index, int64_t oldest,
                            const RecordedKv& leaf) {
  Layer& to = layers_[static_cast<size_t>(layer)];
  const auto add = [&](const at::Tensor& from, const at::Tensor& values, at::Tensor& sum) {
    if (!from.defined() || !from.grad().defined()) return;
    if (!sum.defined()) sum = at::zeros(values.sizes(), values.options().dtype(at::kFloat));
    add_rows(sum, index, oldest, from.grad());
  };
  add(leaf.k_pre, to.values.k_pre, to.gradients.k_pre);
  add(leaf.v, to.values.v, to.gradients.v);
}

RecordedKv RowBank::gradients(int64_t layer, int64_t begin, std::span<const int64_t> kept,
                              int64_t rows) const {
  const RecordedKv& from = layers_[static_cast<size_t>(layer)].gradients;
  const auto spread = [&](const at::Tensor& sum) -> at::Tensor {
    if (!sum.defined() || kept.empty()) return {};
    at::Tensor out = at::zeros({sum.size(0), rows, sum.size(2)}, sum.options());
    return out.index_copy_(1, index_like(kept, sum), sum.narrow(1, begin, static_cast<int64_t>(kept.size())));
  };
  return {spread(from.k_pre), spread(from.v)};
}

}  // namespace beacon
