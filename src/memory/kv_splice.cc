#include "memory/kv_splice.h"

#include <ATen/Functions.h>

#include <algorithm>

#include "base/check.h"
#include "ops/key_rows.h"

namespace beacon {
namespace {

at::Tensor rows(const at::Tensor& t, int64_t begin, int64_t count) { return t.narrow(2, begin, count); }

// Keys as f32 [B, K, R, H], each row turned by the table's row (or by its only row), as rows of `type`.
at::Tensor turned_rows(const at::Tensor& keys, const ops::RopeTable& table, at::ScalarType type) {
  const at::Tensor k = keys.contiguous();
  at::Tensor turned = at::empty_like(k);
  const std::vector<int64_t> flat = {k.numel() / k.size(3), 1, k.size(3)};
  ops::apply_rope(k.view(flat), table.on(k.device()), turned.view(flat));
  const at::Tensor out =
      at::empty({k.size(0), k.size(1), k.size(2), ops::row_width(type, k.size(3))}, k.options().dtype(type));
  ops::store_rows(turned, out);
  return out;
}

// Keys of one piece at positions starting at `at_position`, those of its open window at the given ones if
// there are any.
at::Tensor keys_at(const KvPiece& piece, int64_t layer, int64_t at_position, const ops::Rope& rope,
                   std::span<const int32_t> open_positions) {
  const KvMemory& source = *piece.from;
  const at::Tensor held = rows(source.keys(layer, 0), piece.begin, piece.count);
  if (!source.geometry().keys_rotated || piece.count == 0) return held;
  const int64_t open_begin = source.counts().sink + source.counts().beacons;
  const int64_t settled = std::clamp<int64_t>(open_begin - piece.begin, 0, piece.count);
  const int64_t shift = at_position - piece.begin;
  at::Tensor front = rows(held, 0, settled);
  if (settled > 0 && shift != 0)
    front = turned_rows(ops::float_rows(front), rope.shift(shift), held.scalar_type());
  const int64_t open = piece.count - settled;
  if (open == 0) return front;
  const at::Tensor before = rows(source.keys_before_rope(layer), piece.begin + settled - open_begin, open);
  BEACON_CHECK(open_positions.empty() || static_cast<int64_t>(open_positions.size()) == open);
  const ops::RopeTable table = open_positions.empty()
                                   ? rope.table(at_position + settled, open, source.longest())
                                   : rope.table(open_positions, source.longest());
  const at::Tensor back = turned_rows(before, table, held.scalar_type());
  return at::cat({front, back}, 2);
}

}  // namespace

KvMemory splice(const KvGeometry& geometry, std::span<const KvPiece> pieces, const KvCounts& counts,
                const ops::Rope& rope, std::span<const int32_t> open_positions) {
  std::vector<KvMemory::Layer> layers;
  int64_t longest = 0;
  for (const KvPiece& piece : pieces) longest = std::max(longest, piece.from->longest());
  for (int64_t l = 0; l < geometry.num_layers && counts.total() > 0; ++l) {
    std::vector<at::Tensor> k, v;
    int64_t position = 0;
    for (const KvPiece& piece : pieces) {
      BEACON_CHECK(piece.from->geometry() == geometry);
      if (piece.count == 0) continue;
      const bool last = &piece == &pieces.back();
      k.push_back(keys_at(piece, l, position, rope, last ? open_positions : std::span<const int32_t>()));
      v.push_back(rows(piece.from->values(l, 0), piece.begin, piece.count));
      position += piece.count;
    }
    BEACON_CHECK(position == counts.total());
    KvMemory::Layer layer{at::cat(k, 2), at::cat(v, 2), {}};
    if (geometry.keys_rotated && geometry.windows_close) {
      const at::Tensor before = pieces.back().from->keys_before_rope(l);
      BEACON_CHECK(before.size(2) >= counts.open);
      layer.k_pre = rows(before, before.size(2) - counts.open, counts.open);
    }
    layers.push_back(std::move(layer));
  }
  if (counts.total() == 0) return KvMemory(geometry);
  return KvMemory::from_rows(geometry, counts, layers, std::max(longest, counts.total()));
}

}  // namespace beacon
