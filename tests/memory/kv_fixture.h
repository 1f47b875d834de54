#pragma once
// A memory and its slow twin: the twin keeps every row's key before rotation and rotates it in double when
// asked.
#include <vector>

#include "memory/kv_memory.h"
#include "ops/key_rows.h"
#include "ops/tensor_check.h"

namespace beacon::testing {

inline constexpr int64_t kHeadDim = 32;  // a block of 8-bit integers
inline constexpr double kTheta = 100.0;

inline ops::Rope make_rope(RopeKind kind = RopeKind::kDefault) {
  RopeConfig config;
  config.kind = kind;
  config.theta = kTheta;
  config.factor = kind == RopeKind::kDefault ? 1.0 : 2.0;
  return ops::Rope(config, kHeadDim, 4096);
}

inline KvGeometry make_geometry(at::ScalarType type = at::kFloat) {
  return {.batch = 2, .num_layers = 2, .num_kv_heads = 3, .head_dim = kHeadDim, .type = type};
}

// What rows of `type` hold of x, in their form.
inline at::Tensor rows_like(const at::Tensor& x, at::ScalarType type) {
  at::Tensor rows = at::empty({x.size(0), x.size(1), x.size(2), ops::row_width(type, x.size(3))}, type);
  ops::store_rows(x.contiguous(), rows);
  return rows;
}

inline at::Tensor pick(const at::Tensor& rows, const std::vector<int32_t>& index) {
  return rows.index_select(2, at::tensor(index, at::kLong));
}

// A memory next to what it should hold. Rows of the twin: [B, K, rows, H] f32.
struct Pair {
  KvMemory memory;
  ops::Rope rope;
  std::vector<at::Tensor> before;  // one a layer: keys before rotation, all rows
  std::vector<at::Tensor> values;
  std::vector<int32_t> positions;

  explicit Pair(const KvGeometry& g, RopeKind kind = RopeKind::kDefault) : memory(g), rope(make_rope(kind)) {
    const at::Tensor none = at::empty({g.batch, g.num_kv_heads, 0, g.head_dim});
    before.assign(static_cast<size_t>(g.num_layers), none);
    values = before;
  }

  // A step of random rows at these positions.
  void step(const std::vector<int32_t>& at_positions) {
    const KvGeometry& g = memory.geometry();
    const auto rows = static_cast<int64_t>(at_positions.size());
    memory.reserve(rows);
    memory.set_longest(memory.counts().total() + rows);
    const ops::RopeTable table = rope.table(at_positions, memory.longest());
    for (int64_t l = 0; l < g.num_layers; ++l) {
      const at::Tensor k = at::randn({g.batch, rows, g.num_kv_heads, g.head_dim}), v = at::randn_like(k);
      memory.write(l, k.view({g.batch * rows, -1}), v.view({g.batch * rows, -1}), table);
      auto& pre = before[static_cast<size_t>(l)];
      auto& val = values[static_cast<size_t>(l)];
      pre = at::cat({pre, k.transpose(1, 2)}, 2);
      val = at::cat({val, v.transpose(1, 2)}, 2);
    }
    positions.insert(positions.end(), at_positions.begin(), at_positions.end());
  }
  void step_and_finish(int64_t rows) {
    step(positions_from(static_cast<int32_t>(memory.counts().total()), rows));
    memory.finish(rows);
  }

  void close(const std::vector<int32_t>& sink, const std::vector<int32_t>& beacons,
             const std::vector<int32_t>& keep, const std::vector<int32_t>& keep_positions = {}) {
    const auto base = static_cast<int32_t>(memory.counts().sink + memory.counts().beacons);
    memory.close({sink, beacons, keep, keep_positions}, rope);
    std::vector<int32_t> order = positions_from(0, base);
    for (const auto* part : {&sink, &beacons, &keep}) {
      for (const int32_t row : *part) order.push_back(base + row);
    }
    for (auto& pre : before) pre = pick(pre, order);
    for (auto& val : values) val = pick(val, order);
    positions = positions_from(0, static_cast<int64_t>(order.size()));
    std::copy(keep_positions.begin(), keep_positions.end(),
              positions.end() - static_cast<int64_t>(keep_positions.size()));
  }

  // Everything the memory hands out equals the twin; `extra` rows are written but not finished.
  void expect_same(int64_t extra = 0) const {
    const KvGeometry& g = memory.geometry();
    ASSERT_EQ(memory.counts().total() + extra, static_cast<int64_t>(positions.size()));
    const at::Tensor angle = angles(positions, plain_frequencies(kTheta, g.head_dim));
    for (int64_t l = 0; l < g.num_layers; ++l) {
      SCOPED_TRACE(::testing::Message() << "layer " << l);
      const at::Tensor& pre = before[static_cast<size_t>(l)];
      const at::Tensor value = rows_like(values[static_cast<size_t>(l)], g.type);
      expect_equal(memory.values(l, extra), value);
      EXPECT_EQ(memory.keys(l, extra).scalar_type(), g.type);
      if (g.keys_rotated) {
        at::Tensor tolerance = turn_tolerance(pre, angle);
        const at::Tensor expected = turned(pre, angle);
        if (g.type == at::kBFloat16) tolerance = tolerance + expected.abs() * 1.01 * kEpsBf16;
        // Half a step of the block, whose scale was rounded to 11 bits.
        if (g.type == ops::kBlockRows)
          tolerance = tolerance + expected.abs().amax(-1, true) / 127 * (0.5 + 127 * 0x1p-11);
        expect_close(ops::float_rows(memory.keys(l, extra)), expected, tolerance);
      } else {
        expect_equal(memory.keys(l, extra), rows_like(pre, g.type));
      }
      const int64_t open = g.keys_rotated && g.windows_close ? memory.counts().open : 0;
      const int64_t first = pre.size(2) - extra - memory.counts().open;
      expect_equal(memory.keys_before_rope(l), pre.narrow(2, first, open));
    }
  }
};

inline void expect_same_bits(const KvMemory& a, const KvMemory& b) {
  ASSERT_TRUE(a.geometry() == b.geometry());
  EXPECT_TRUE(a.counts() == b.counts());
  EXPECT_EQ(a.longest(), b.longest());
  for (int64_t l = 0; l < a.geometry().num_layers; ++l) {
    expect_equal(a.keys(l, 0), b.keys(l, 0));
    expect_equal(a.values(l, 0), b.values(l, 0));
    expect_equal(a.keys_before_rope(l), b.keys_before_rope(l));
  }
}

}  // namespace beacon::testing
