#include "memory/kv_memory.h"

#include <tuple>

#include "memory/kv_fixture.h"

namespace beacon {
namespace {

using namespace beacon::testing;

class KvMemoryTest : public TensorTest {};

// A memory with 2 sink rows, 3 beacons and 4 open rows, built by two closes.
Pair small_memory(const KvGeometry& geometry = make_geometry(), RopeKind kind = RopeKind::kDefault) {
  Pair pair(geometry, kind);
  pair.step_and_finish(6);
  pair.close({0, 1}, {2, 5}, {4});
  pair.step_and_finish(4);
  pair.close({}, {3}, {1, 4});
  pair.step_and_finish(2);
  return pair;
}

TEST_F(KvMemoryTest, StartsEmpty) {
  const KvMemory memory(make_geometry());
  EXPECT_TRUE(memory.counts() == KvCounts{});
  EXPECT_EQ(memory.keys_before_rope(0).sizes().vec(), (std::vector<int64_t>{2, 3, 0, kHeadDim}));
  EXPECT_EQ(memory.rows(1).k.sizes().vec(), (std::vector<int64_t>{2, 3, 0, kHeadDim}));
  EXPECT_EQ(memory.bytes(0, 0), 0);
}

TEST_F(KvMemoryTest, NewRowsAreSeenBeforeTheyAreFinished) {
  Pair pair(make_geometry());
  pair.step(positions_from(0, 5));
  pair.expect_same(5);
  EXPECT_EQ(pair.memory.counts().total(), 0);
  pair.memory.finish(5);
  pair.expect_same();
  EXPECT_TRUE(pair.memory.counts() == (KvCounts{0, 0, 5}));
}

// Step expansion gives rows positions that are not their index; a close ends that.
TEST_F(KvMemoryTest, RowsMayStandElsewhereUntilTheClose) {
  Pair pair(make_geometry());
  pair.step({0, 1, 1, 2, 7, 3});
  pair.memory.finish(6);
  pair.expect_same();
  pair.close({}, {4}, {2, 5});
  pair.expect_same();
}

// Echoes stay with their token in a raw tail, and get their index at a later close.
TEST_F(KvMemoryTest, KeptRowsMayStandElsewhere) {
  Pair pair(make_geometry());
  pair.step({0, 1, 1, 2, 3, 3});
  pair.memory.finish(6);
  pair.close({0}, {2}, {3, 4, 5}, {2, 3, 3});
  pair.expect_same();
  pair.close({}, {2}, {});
  pair.expect_same();
}

TEST_F(KvMemoryTest, CloseMovesRowsAndTurnsThemToTheirNewIndex) {
  Pair pair(make_geometry());
  pair.step_and_finish(8);
  pair.close({0, 1}, {3, 6}, {5, 7});
  EXPECT_TRUE(pair.memory.counts() == (KvCounts{2, 2, 2}));
  pair.expect_same();
  pair.step_and_finish(5);
  pair.expect_same();
  pair.close({}, {1, 4}, {6});
  EXPECT_TRUE(pair.memory.counts() == (KvCounts{2, 4, 1}));
  pair.expect_same();
}

TEST_F(KvMemoryTest, CloseMayRepeatAndReorderRows) {
  Pair pair(make_geometry());
  pair.step_and_finish(4);
  // A sink row that is a beacon and a kept row as well: more rows than there were.
  pair.close({0, 1}, {0, 3}, {1, 2, 3});
  EXPECT_TRUE(pair.memory.counts() == (KvCounts{2, 2, 3}));
  pair.expect_same();
  pair.close({}, {2, 0}, {});
  pair.expect_same();
}

TEST_F(KvMemoryTest, CloseOfEverythingAndOfNothing) {
  Pair pair(make_geometry());
  pair.step_and_finish(3);
  pair.close({}, {}, {});
  EXPECT_EQ(pair.memory.counts().total(), 0);
  pair.expect_same();
  pair.step_and_finish(2);
  pair.expect_same();
  pair.close({}, {0, 1}, {});
  pair.expect_same();
}

// Repeating rows beyond the reserved capacity makes a close grow the memory.
TEST_F(KvMemoryTest, CloseGrowsWhenItMust) {
  Pair pair(make_geometry());
  pair.step_and_finish(220);
  const std::vector<int32_t> all = positions_from(0, 220);
  pair.close({0, 1, 2}, all, all);
  EXPECT_EQ(pair.memory.counts().total(), 443);
  pair.expect_same();
}

TEST_F(KvMemoryTest, GrowthKeepsTheRows) {
  Pair pair(make_geometry());
  pair.step_and_finish(200);
  pair.close({0}, {10, 20}, {30, 31, 32});
  for (const int64_t rows : {100, 250, 1, 700}) {
    pair.step_and_finish(rows);
    pair.expect_same();
  }
}

TEST_F(KvMemoryTest, ExpectedRowsMoveNothing) {
  Pair pair(make_geometry());
  pair.step_and_finish(5);
  pair.memory.expect(1000);
  pair.expect_same();
  const void* const keys = pair.memory.keys(0, 0).const_data_ptr();
  for (const int64_t rows : {300, 1, 690}) pair.step_and_finish(rows);
  EXPECT_EQ(pair.memory.keys(0, 0).const_data_ptr(), keys);
  EXPECT_LT(pair.memory.keys(0, 0).stride(1), (1000 + 256) * pair.memory.geometry().head_dim);
  pair.expect_same();
}

// Each close rotates from the source: after many of them a kept row is as exact as after one.
TEST_F(KvMemoryTest, ClosesDoNotAddUpErrors) {
  Pair pair(make_geometry());
  pair.step_and_finish(4);
  for (int round = 0; round < 50; ++round) {
    pair.close({}, {3}, {0, 1, 2});
    pair.step_and_finish(1);
  }
  pair.expect_same();
}

TEST_F(KvMemoryTest, NarrowTypesRoundOnceFromTheSource) {
  for (const at::ScalarType type : {at::kBFloat16, ops::kBlockRows}) {
    Pair pair = small_memory(make_geometry(type));
    EXPECT_EQ(pair.memory.keys_before_rope(0).scalar_type(), at::kFloat);
    pair.expect_same();
  }
}

TEST_F(KvMemoryTest, BlocksTakeEightBitsAndAHalfScaleEach) {
  EXPECT_EQ(make_geometry(ops::kBlockRows).row_bytes(), 2 * 2 * 2 * 3 * (32 + 2));
  EXPECT_EQ(make_geometry(at::kBFloat16).row_bytes(), 2 * 2 * 2 * 3 * 64);
}

TEST_F(KvMemoryTest, UnrotatedKeysStayAsTheyCame) {
  KvGeometry geometry = make_geometry();
  geometry.keys_rotated = false;
  const Pair pair = small_memory(geometry, RopeKind::kDynamic);
  EXPECT_EQ(pair.memory.keys_before_rope(0).size(2), 0);
  EXPECT_FALSE(pair.memory.rows(0).k_pre.defined());
  pair.expect_same();
}

TEST_F(KvMemoryTest, PlainModelKeepsNoSecondKey) {
  KvGeometry geometry = make_geometry();
  geometry.windows_close = false;
  Pair pair(geometry);
  pair.step_and_finish(7);
  pair.step_and_finish(300);
  pair.expect_same();
  EXPECT_EQ(pair.memory.keys_before_rope(0).size(2), 0);
  expect_error(ErrorCode::kInternal, "windows_close", [&] { pair.memory.close({}, pair.rope); });
}

TEST_F(KvMemoryTest, SinkComesBeforeBeacons) {
  Pair pair = small_memory();
  const std::vector<int32_t> row = {0};
  expect_error(ErrorCode::kInternal, "sink", [&] { pair.memory.close({row, {}, {}}, pair.rope); });
  pair.expect_same();
}

TEST_F(KvMemoryTest, WritingBeyondTheReservedRowsIsRefused) {
  KvMemory memory(make_geometry());
  const at::Tensor rows = at::randn({2, 3 * kHeadDim});
  expect_error(ErrorCode::kInternal, "capacity_",
               [&] { memory.write(0, rows, rows, make_rope().table(0, 1, 0)); });
}

TEST_F(KvMemoryTest, RewindIsExactWithinAWindow) {
  Pair pair = small_memory();
  const KvMemory before = pair.memory.clone();
  const KvMemory::OpenWindow mark = pair.memory.copy_open();
  pair.step_and_finish(3);
  pair.memory.rewind(mark);
  expect_same_bits(pair.memory, before);
}

TEST_F(KvMemoryTest, RewindIsExactPastClosesAndTwice) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, ops::kBlockRows}) {
    for (const bool rotated : {true, false}) {
      KvGeometry geometry = make_geometry(type);
      geometry.keys_rotated = rotated;
      Pair pair = small_memory(geometry, rotated ? RopeKind::kDefault : RopeKind::kDynamic);
      const KvMemory before = pair.memory.clone();
      const KvMemory::OpenWindow mark = pair.memory.copy_open();
      for (int round = 0; round < 2; ++round) {
        const auto kept = std::tuple(pair.before, pair.values, pair.positions);
        pair.step_and_finish(5);
        pair.close({}, {8, 2}, {});
        pair.step_and_finish(400);
        pair.close({}, {3}, {1});
        pair.memory.rewind(mark);
        expect_same_bits(pair.memory, before);
        std::tie(pair.before, pair.values, pair.positions) = kept;
        pair.expect_same();
      }
    }
  }
}

TEST_F(KvMemoryTest, RewindToTheBeginning) {
  Pair pair(make_geometry());
  const KvMemory::OpenWindow mark = pair.memory.copy_open();
  pair.step_and_finish(5);
  pair.close({0}, {3}, {4});
  pair.memory.rewind(mark);
  expect_same_bits(pair.memory, KvMemory(make_geometry()));
  EXPECT_EQ(pair.memory.longest(), 0);
}

TEST_F(KvMemoryTest, RewindForwardsIsRefused) {
  Pair pair = small_memory();
  const KvMemory::OpenWindow mark = pair.memory.copy_open();
  KvMemory empty(make_geometry());
  expect_error(ErrorCode::kInternal, "mark.counts", [&] { empty.rewind(mark); });
}

TEST_F(KvMemoryTest, CloneIsIndependent) {
  Pair pair = small_memory();
  const KvMemory first = pair.memory.clone();
  const KvMemory second = first.clone();
  expect_same_bits(first, pair.memory);
  pair.step_and_finish(2);
  pair.close({}, {0, 1, 2}, {});
  pair.expect_same();
  expect_same_bits(first, second);
  EXPECT_FALSE(first.counts() == pair.memory.counts());
}

TEST_F(KvMemoryTest, AClonedMemoryGoesOnAsTheOriginal) {
  Pair pair = small_memory();
  pair.memory = pair.memory.clone();
  pair.step_and_finish(3);
  pair.close({}, {0, 5}, {6});
  pair.expect_same();
}

TEST_F(KvMemoryTest, RowsComeBackBitForBit) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, ops::kBlockRows}) {
    const Pair pair = small_memory(make_geometry(type));
    std::vector<KvMemory::Layer> layers;
    for (int64_t l = 0; l < 2; ++l) {
      layers.push_back(pair.memory.rows(l));
      EXPECT_TRUE(layers.back().k.is_contiguous());
      EXPECT_EQ(layers.back().k.size(2), pair.memory.counts().total());
      EXPECT_EQ(layers.back().k_pre.size(2), pair.memory.counts().open);
    }
    const KvMemory again =
        KvMemory::from_rows(pair.memory.geometry(), pair.memory.counts(), layers, pair.memory.longest());
    expect_same_bits(again, pair.memory);
  }
}

TEST_F(KvMemoryTest, FromRowsChecksShapes) {
  const Pair pair = small_memory();
  const KvGeometry geometry = pair.memory.geometry();
  const KvCounts counts = pair.memory.counts();
  const auto take = [&](const std::function<void(std::vector<KvMemory::Layer>&)>& change) {
    std::vector<KvMemory::Layer> layers = {pair.memory.rows(0), pair.memory.rows(1)};
    change(layers);
    static_cast<void>(KvMemory::from_rows(geometry, counts, layers, 0));
  };
  expect_error(ErrorCode::kInternal, "num_layers", [&] { take([](auto& l) { l.pop_back(); }); });
  expect_error(ErrorCode::kInternal, "shape",
               [&] { take([](auto& l) { l[1].k = l[1].k.narrow(2, 0, 3); }); });
  expect_error(ErrorCode::kInternal, "shape",
               [&] { take([](auto& l) { l[0].v = l[0].v.narrow(1, 0, 2); }); });
  expect_error(ErrorCode::kInternal, "k_pre", [&] { take([](auto& l) { l[1].k_pre = at::Tensor(); }); });
  expect_error(ErrorCode::kInternal, "k_pre",
               [&] { take([](auto& l) { l[0].k_pre = l[0].k_pre.narrow(2, 0, 1); }); });
}

TEST_F(KvMemoryTest, ResetForgetsEverything) {
  Pair pair = small_memory();
  pair.memory.reset();
  expect_same_bits(pair.memory, KvMemory(make_geometry()));
  Pair fresh(make_geometry());
  fresh.memory = std::move(pair.memory);
  fresh.step_and_finish(3);
  fresh.expect_same();
}

TEST_F(KvMemoryTest, BytesFollowTheRows) {
  // 2 sequences, 2 layers, 3 heads of 32: 384 numbers a row in k and as many in v.
  EXPECT_EQ(KvMemory(make_geometry()).bytes(10, 0), 10 * 2 * 384 * 4);
  EXPECT_EQ(KvMemory(make_geometry()).bytes(10, 4), 10 * 2 * 384 * 4 + 4 * 384 * 4);
  EXPECT_EQ(KvMemory(make_geometry(at::kBFloat16)).bytes(10, 4), 10 * 2 * 384 * 2 + 4 * 384 * 4);
  KvGeometry plain = make_geometry();
  plain.windows_close = false;
  EXPECT_EQ(KvMemory(plain).bytes(10, 4), 10 * 2 * 384 * 4);
}

}  // namespace
}  // namespace beacon
