#include "memory/kv_memory.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"
#include "base/checked.h"
#include "ops/device.h"
#include "ops/key_rows.h"

namespace beacon {
namespace {

constexpr int64_t kBlockRows = 256;  // memory grows by at least this many rows

at::Tensor narrow_rows(const at::Tensor& t, int64_t begin, int64_t count) {
  return t.narrow(2, begin, count);
}

// A tensor of the new capacity with the first `used` rows of the old one.
at::Tensor regrown(const at::Tensor& old, int64_t used, const KvGeometry& g, int64_t capacity, int64_t width,
                   at::ScalarType type) {
  at::Tensor bigger = at::empty({g.batch, g.num_kv_heads, capacity, width}, g.options(type));
  if (used > 0) narrow_rows(bigger, 0, used).copy_(narrow_rows(old, 0, used));
  return bigger;
}

// [B * T, K * H] as [B, K, T, H], a view.
at::Tensor by_head(const at::Tensor& rows, const KvGeometry& g) {
  return rows.view({g.batch, rows.size(0) / g.batch, g.num_kv_heads, g.head_dim}).transpose(1, 2);
}

// Rotates rows [B, K, R, H] of f32 to the positions of the table.
at::Tensor rotated(const at::Tensor& k_pre, const ops::RopeTable& table) {
  const at::Tensor k = k_pre.contiguous();
  const int64_t heads = k.size(0) * k.size(1);
  at::Tensor out = at::empty_like(k);
  // Heads in front of rows: the table repeats for each of them.
  ops::apply_rope(k.view({heads * k.size(2), 1, k.size(3)}), table,
                  out.view({heads * k.size(2), 1, k.size(3)}));
  return out;
}

}  // namespace

int64_t KvGeometry::row_width() const { return ops::row_width(type, head_dim); }

int64_t KvGeometry::row_bytes() const {
  return 2 * batch * num_layers * num_kv_heads * row_width() * static_cast<int64_t>(c10::elementSize(type));
}

KvMemory::KvMemory(const KvGeometry& geometry) : geometry_(geometry) {
  ops::row_dtype(geometry.type);  // checks it
  layers_.resize(static_cast<size_t>(geometry.num_layers));
}

void KvMemory::grow(int64_t capacity, int64_t open_capacity) {
  const int64_t used = counts_.total();
  for (Layer& layer : layers_) {
    if (capacity > capacity_) {
      layer.k = regrown(layer.k, used, geometry_, capacity, geometry_.row_width(), geometry_.type);
      layer.v = regrown(layer.v, used, geometry_, capacity, geometry_.row_width(), geometry_.type);
    }
    if (open_capacity > open_capacity_) {
      layer.k_pre =
          regrown(layer.k_pre, counts_.open, geometry_, open_capacity, geometry_.head_dim, at::kFloat);
    }
  }
  capacity_ = std::max(capacity_, capacity);
  open_capacity_ = std::max(open_capacity_, open_capacity);
}

void KvMemory::expect(int64_t rows) {
  if (rows > capacity_) grow(ceil_div(rows, kBlockRows) * kBlockRows, open_capacity_);
}

void KvMemory::reserve(int64_t rows) {
  const int64_t needed = counts_.total() + rows;
  const bool keep_pre = geometry_.keys_rotated && geometry_.windows_close;
  const int64_t open_needed = keep_pre ? counts_.open + rows : 0;
  if (needed <= capacity_ && open_needed <= open_capacity_) return;
  // An eighth more than asked for: copying stays linear in what is read, waste stays small.
  const auto roomy = [](int64_t n) { return ceil_div(n + n / 8, kBlockRows) * kBlockRows; };
  grow(needed > capacity_ ? roomy(needed) : capacity_,
       open_needed > open_capacity_ ? roomy(open_needed) : open_capacity_);
}

void KvMemory::write(int64_t layer_index, const at::Tensor& k_pre, const at::Tensor& v,
                     const ops::RopeTable& table) {
  Layer& layer = layers_[static_cast<size_t>(layer_index)];
  const int64_t rows = k_pre.size(0) / geometry_.batch;
  const int64_t at_row = counts_.total();
  BEACON_CHECK(at_row + rows <= capacity_);
  const at::Tensor k = narrow_rows(layer.k, at_row, rows);
  if (!geometry_.device.is_cpu() && geometry_.keys_rotated && geometry_.batch == 1) {
    const at::Tensor before =
        geometry_.windows_close ? narrow_rows(layer.k_pre, counts_.open, rows) : at::Tensor();
    if (ops::append_on_device(k_pre, v, table, k, narrow_rows(layer.v, at_row, rows), before)) return;
  }
  const at::Tensor k_bkth = by_head(k_pre, geometry_);
  if (!geometry_.keys_rotated) {
    ops::store_rows(k_bkth, k);
  } else if (geometry_.type == ops::kBlockRows) {
    ops::store_rows(rotated(k_bkth.to(at::kFloat), table), k);
  } else {
    for (int64_t b = 0; b < geometry_.batch; ++b)
      ops::apply_rope(k_bkth[b].transpose(0, 1), table, k[b].transpose(0, 1));
  }
  if (geometry_.keys_rotated && geometry_.windows_close)
    narrow_rows(layer.k_pre, counts_.open, rows).copy_(k_bkth);
  ops::store_rows(by_head(v, geometry_), narrow_rows(layer.v, at_row, rows));
}

at::Tensor KvMemory::keys(int64_t layer, int64_t new_rows) const {
  return used_rows(layers_[static_cast<size_t>(layer)].k, new_rows);
}

at::Tensor KvMemory::values(int64_t layer, int64_t new_rows) const {
  return used_rows(layers_[static_cast<size_t>(layer)].v, new_rows);
}

at::Tensor KvMemory::used_rows(const at::Tensor& held, int64_t new_rows) const {
  if (held.defined()) return narrow_rows(held, 0, counts_.total() + new_rows);
  BEACON_CHECK(counts_.total() + new_rows == 0);  // nothing was reserved yet
  return at::empty({geometry_.batch, geometry_.num_kv_heads, 0, geometry_.row_width()},
                   geometry_.options(geometry_.type));
}

at::Tensor KvMemory::keys_before_rope(int64_t layer) const {
  const at::Tensor& k_pre = layers_[static_cast<size_t>(layer)].k_pre;
  if (k_pre.defined()) return narrow_rows(k_pre, 0, counts_.open);
  return at::empty({geometry_.batch, geometry_.num_kv_heads, 0, geometry_.head_dim},
                   geometry_.options(at::kFloat));
}

void KvMemory::finish(int64_t rows) { counts_.open += rows; }

void KvMemory::close(const KvClose& close, const ops::Rope& rope) {
  BEACON_CHECK(geometry_.windows_close);
  BEACON_CHECK(close.sink.empty() || counts_.beacons == 0);
  std::vector<int64_t> order(close.sink.begin(), close.sink.end());
  order.insert(order.end(), close.beacons.begin(), close.beacons.end());
  order.insert(order.end(), close.keep.begin(), close.keep.end());
  const auto moved = static_cast<int64_t>(order.size());
  const auto kept = static_cast<int64_t>(close.keep.size());
  const int64_t base = counts_.sink + counts_.beacons;
  if (moved > counts_.open)
    reserve(moved - counts_.open);  // a sink row may be a beacon or a kept row as well

  const at::Tensor index = ops::index_on(geometry_.device, order);
  ops::RopeTable table;
  if (geometry_.keys_rotated) {
    std::vector<int32_t> positions(static_cast<size_t>(moved));
    std::iota(positions.begin(), positions.end(), static_cast<int32_t>(base));
    BEACON_CHECK(close.keep_positions.empty() || close.keep_positions.size() == close.keep.size());
    std::copy(close.keep_positions.begin(), close.keep_positions.end(),
              positions.end() - static_cast<int64_t>(close.keep_positions.size()));
    table = rope.table(positions, longest_).on(geometry_.device);
  }
  for (Layer& layer : layers_) {
    if (moved == 0) break;
    const at::Tensor v = narrow_rows(layer.v, base, counts_.open).index_select(2, index);
    narrow_rows(layer.v, base, moved).copy_(v);
    if (geometry_.keys_rotated) {
      const at::Tensor k_pre = narrow_rows(layer.k_pre, 0, counts_.open).index_select(2, index);
      ops::store_rows(rotated(k_pre, table), narrow_rows(layer.k, base, moved));
      if (kept > 0) narrow_rows(layer.k_pre, 0, kept).copy_(narrow_rows(k_pre, moved - kept, kept));
    } else {
      const at::Tensor k = narrow_rows(layer.k, base, counts_.open).index_select(2, index);
      narrow_rows(layer.k, base, moved).copy_(k);
    }
  }
  counts_.sink += static_cast<int64_t>(close.sink.size());
  counts_.beacons += static_cast<int64_t>(close.beacons.size());
  counts_.open = kept;
}

KvMemory::OpenWindow KvMemory::copy_open() const {
  OpenWindow mark{{}, counts_, longest_};
  const int64_t base = counts_.sink + counts_.beacons;
  for (const Layer& layer : layers_) {
    Layer copy;
    if (counts_.open > 0) {
      copy.k = narrow_rows(layer.k, base, counts_.open).clone(at::MemoryFormat::Contiguous);
      copy.v = narrow_rows(layer.v, base, counts_.open).clone(at::MemoryFormat::Contiguous);
      if (layer.k_pre.defined())
        copy.k_pre = narrow_rows(layer.k_pre, 0, counts_.open).clone(at::MemoryFormat::Contiguous);
    }
    mark.layers.push_back(std::move(copy));
  }
  return mark;
}

void KvMemory::rewind(const OpenWindow& mark) {
  BEACON_CHECK(mark.layers.size() == layers_.size());
  BEACON_CHECK(mark.counts.sink <= counts_.sink && mark.counts.beacons <= counts_.beacons);
  counts_ = {mark.counts.sink, mark.counts.beacons, 0};
  reserve(mark.counts.open);
  const int64_t base = counts_.total();
  for (size_t l = 0; l < layers_.size() && mark.counts.open > 0; ++l) {
    narrow_rows(layers_[l].k, base, mark.counts.open).copy_(mark.layers[l].k);
    narrow_rows(layers_[l].v, base, mark.counts.open).copy_(mark.layers[l].v);
    if (mark.layers[l].k_pre.defined())
      narrow_rows(layers_[l].k_pre, 0, mark.counts.open).copy_(mark.layers[l].k_pre);
  }
  counts_.open = mark.counts.open;
  longest_ = mark.longest;
}

KvMemory KvMemory::clone() const {
  std::vector<Layer> layers;
  for (int64_t l = 0; l < geometry_.num_layers; ++l) layers.push_back(rows(l));
  return from_rows(geometry_, counts_, layers, longest_);
}

void KvMemory::reset() { *this = KvMemory(geometry_); }

KvMemory::Layer KvMemory::rows(int64_t layer_index) const {
  Layer out;
  const auto exact = [](const at::Tensor& rows) { return rows.clone(at::MemoryFormat::Contiguous); };
  out.k = exact(keys(layer_index, 0));
  out.v = exact(values(layer_index, 0));
  if (geometry_.keys_rotated && geometry_.windows_close) out.k_pre = exact(keys_before_rope(layer_index));
  return out;
}

KvMemory KvMemory::from_rows(const KvGeometry& geometry, const KvCounts& counts,
                             std::span<const Layer> layers, int64_t longest,
                             const std::function<void(int64_t layer)>& copied) {
  KvMemory memory(geometry);
  BEACON_CHECK(static_cast<int64_t>(layers.size()) == geometry.num_layers);
  memory.reserve(counts.total());
  for (size_t l = 0; l < layers.size(); ++l) {
    const std::vector<int64_t> shape = {geometry.batch, geometry.num_kv_heads, counts.total(),
                                        geometry.row_width()};
    BEACON_CHECK(layers[l].k.sizes() == shape && layers[l].v.sizes() == shape);
    if (counts.total() == 0) continue;
    narrow_rows(memory.layers_[l].k, 0, counts.total()).copy_(layers[l].k);
    narrow_rows(memory.layers_[l].v, 0, counts.total()).copy_(layers[l].v);
    if (geometry.keys_rotated && geometry.windows_close && counts.open > 0) {
      BEACON_CHECK(layers[l].k_pre.defined() && layers[l].k_pre.size(2) == counts.open);
      narrow_rows(memory.layers_[l].k_pre, 0, counts.open).copy_(layers[l].k_pre);
    }
    if (copied) copied(static_cast<int64_t>(l));
  }
  memory.counts_ = counts;
  memory.longest_ = longest;
  return memory;
}

int64_t KvMemory::bytes(int64_t rows, int64_t open_rows) const {
  int64_t total = rows * geometry_.row_bytes();
  if (geometry_.keys_rotated && geometry_.windows_close) {
    total +=
        open_rows * geometry_.batch * geometry_.num_layers * geometry_.num_kv_heads * geometry_.head_dim * 4;
  }
  return total;
}

}  // namespace beacon
