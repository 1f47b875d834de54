#include "train/row_bank.h"

#include <ATen/Functions.h>

#include "base/check.h"

namespace beacon {
namespace {

at::Tensor index_tensor(std::span<const int64_t> index) {
  return at::from_blob(const_cast<int64_t*>(index.data()), {static_cast<int64_t>(index.size())}, at::kLong);
}

// target[b][index[i]] += source[b][i] for the indexes from `oldest` on. Indexes may repeat: a sink row is
// also condensed.
void add_rows(const at::Tensor& target, std::span<const int64_t> index, int64_t oldest,
              const at::Tensor& source) {
  const at::Tensor from = source.to(at::kFloat).contiguous();
  const int64_t width = target.size(2);
  for (int64_t b = 0; b < target.size(0); ++b) {
    float* out = target.data_ptr<float>() + b * target.stride(0);
    const float* in = from.const_data_ptr<float>() + b * from.stride(0);
    for (size_t i = 0; i < index.size(); ++i, in += width) {
      if (index[i] < oldest) continue;
      float* row = out + index[i] * width;
      for (int64_t c = 0; c < width; ++c) row[c] += in[c];
    }
  }
}

}  // namespace

RowBank::RowBank(int64_t layers, int64_t batch, int64_t rows, int64_t width, at::ScalarType type) {
  for (int64_t l = 0; l < layers; ++l) {
    layers_.push_back({{at::empty({batch, rows, width}, type), at::empty({batch, rows, width}, type)}, {}});
  }
}

RecordedKv RowBank::gather(int64_t layer, std::span<const int64_t> index, bool leaves) const {
  const RecordedKv& from = layers_[static_cast<size_t>(layer)].values;
  const at::Tensor rows = index_tensor(index);
  RecordedKv out{from.k_pre.index_select(1, rows), from.v.index_select(1, rows)};
  out.k_pre.set_requires_grad(leaves);
  out.v.set_requires_grad(leaves);
  return out;
}

void RowBank::put(int64_t layer, int64_t begin, std::span<const int64_t> kept, const RecordedKv& step) {
  if (kept.empty()) return;
  const RecordedKv& to = layers_[static_cast<size_t>(layer)].values;
  const at::Tensor rows = index_tensor(kept);
  to.k_pre.narrow(1, begin, rows.numel()).copy_(step.k_pre.detach().index_select(1, rows));
  to.v.narrow(1, begin, rows.numel()).copy_(step.v.detach().index_select(1, rows));
}

void RowBank::add_gradients(int64_t layer, std::span<const int64_t> index, int64_t oldest,
                            const RecordedKv& leaf) {
  Layer& to = layers_[static_cast<size_t>(layer)];
  const auto add = [&](const at::Tensor& from, const at::Tensor& values, at::Tensor& sum) {
    if (!from.defined() || !from.grad().defined()) return;
    if (!sum.defined()) sum = at::zeros(values.sizes(), at::kFloat);
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
    at::Tensor out = at::zeros({sum.size(0), rows, sum.size(2)}, at::kFloat);
    return out.index_copy_(1, index_tensor(kept), sum.narrow(1, begin, static_cast<int64_t>(kept.size())));
  };
  return {spread(from.k_pre), spread(from.v)};
}

}  // namespace beacon
