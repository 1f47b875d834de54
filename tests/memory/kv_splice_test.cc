// Join and cut against a memory written at the new positions directly.
#include "memory/kv_splice.h"

#include "memory/kv_fixture.h"

namespace beacon {
namespace {

using namespace beacon::testing;

class KvSpliceTest : public TensorTest {};

// [sink | beacons | open]
Pair make_pair_of(const KvGeometry& geometry, int32_t sink, int32_t beacons, int32_t open,
                  RopeKind kind = RopeKind::kDefault) {
  Pair pair(geometry, kind);
  pair.step_and_finish(sink + beacons + open);
  pair.close(positions_from(0, sink), positions_from(sink, beacons), positions_from(sink + beacons, open));
  return pair;
}

// Settled rows were rotated twice, by up to 40 radians each time, and in bf16 or blocks rounded twice.
double settled_tolerance(at::ScalarType type) {
  const double longest_pair = 6.0;
  if (type == ops::kBlockRows) return 2 * longest_pair / 127 * (0.5 + 127 * 0x1p-11);
  return longest_pair * (type == at::kFloat ? 2 * (2 * 40 + 6) * kEpsF32 : 2.02 * kEpsBf16);
}

// Rows [settled_end, total) of the result must come from keys before rotation: as if written there.
void expect_spliced(const KvMemory& result, const std::vector<std::pair<const Pair*, KvPiece>>& pieces) {
  const KvGeometry& g = result.geometry();
  int64_t position = 0;
  for (const auto& [pair, piece] : pieces) {
    const int64_t settled_end = pair->memory.counts().sink + pair->memory.counts().beacons;
    for (int64_t l = 0; l < g.num_layers; ++l) {
      const at::Tensor pre = pair->before[static_cast<size_t>(l)].narrow(2, piece.begin, piece.count);
      const at::Tensor k = result.keys(l, 0).narrow(2, position, piece.count);
      expect_equal(result.values(l, 0).narrow(2, position, piece.count),
                   pair->memory.values(l, 0).narrow(2, piece.begin, piece.count));
      const ops::RopeTable table = pair->rope.table(position, piece.count, 0);
      at::Tensor direct = at::empty_like(pre, at::MemoryFormat::Contiguous);
      const std::vector<int64_t> flat = {pre.numel() / kHeadDim, 1, kHeadDim};
      ops::apply_rope(pre.contiguous().view(flat), table, direct.view(flat));
      const at::Tensor written = rows_like(direct, g.type);
      expect_close(ops::float_rows(k), ops::float_rows(written), settled_tolerance(g.type));
      const int64_t settled = std::clamp<int64_t>(settled_end - piece.begin, 0, piece.count);
      expect_equal(k.narrow(2, settled, piece.count - settled),
                   written.narrow(2, settled, piece.count - settled));
      if (position == piece.begin)
        expect_equal(k, pair->memory.keys(l, 0).narrow(2, piece.begin, piece.count));
    }
    position += piece.count;
  }
  EXPECT_EQ(result.counts().total(), position);
}

TEST_F(KvSpliceTest, JoinPutsOneMemoryBehindTheOther) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, ops::kBlockRows}) {
    for (const RopeKind kind : {RopeKind::kDefault, RopeKind::kYarn}) {
      SCOPED_TRACE(::testing::Message() << c10::toString(type) << ' ' << to_string(kind));
      const KvGeometry geometry = make_geometry(type);
      const Pair a = make_pair_of(geometry, 2, 5, 4, kind), b = make_pair_of(geometry, 2, 3, 6, kind);
      const KvPiece all_of_a{&a.memory, 0, 11}, rest_of_b{&b.memory, 2, 9};
      const std::vector<KvPiece> pieces = {all_of_a, rest_of_b};
      const KvMemory joined = splice(geometry, pieces, {2, 12, 6}, a.rope);
      EXPECT_TRUE(joined.counts() == (KvCounts{2, 12, 6}));
      expect_spliced(joined, {{&a, all_of_a}, {&b, rest_of_b}});
      for (int64_t l = 0; l < 2; ++l) expect_equal(joined.keys_before_rope(l), b.memory.keys_before_rope(l));
      EXPECT_EQ(joined.longest(), 20);
    }
  }
}

// The open rows of the join close as rows of any memory do.
TEST_F(KvSpliceTest, AJoinedMemoryGoesOn) {
  const KvGeometry geometry = make_geometry();
  const Pair a = make_pair_of(geometry, 1, 4, 0), b = make_pair_of(geometry, 1, 2, 3);
  const std::vector<KvPiece> pieces = {{&a.memory, 0, 5}, {&b.memory, 1, 5}};
  Pair joined(geometry);
  joined.memory = splice(geometry, pieces, {1, 6, 3}, a.rope);
  const std::vector<int32_t> kept = {2, 0};
  joined.memory.close({{}, {}, kept}, a.rope);
  const std::vector<int32_t> positions = {7, 8};
  const at::Tensor angle = angles(positions, plain_frequencies(kTheta, kHeadDim));
  for (int64_t l = 0; l < 2; ++l) {
    const at::Tensor pre = pick(b.before[static_cast<size_t>(l)], {5, 3});
    expect_close(joined.memory.keys(l, 0).narrow(2, 7, 2), turned(pre, angle), turn_tolerance(pre, angle));
  }
}

// Where a plan places the open rows elsewhere, they are as a close would leave them.
TEST_F(KvSpliceTest, OpenRowsMayStandElsewhere) {
  const KvGeometry geometry = make_geometry();
  const std::vector<int32_t> positions = {6, 7, 7};
  const Pair a = make_pair_of(geometry, 1, 3, 2), b = make_pair_of(geometry, 1, 0, 3);
  const std::vector<KvPiece> pieces = {{&a.memory, 0, 6}, {&b.memory, 1, 3}};
  const KvMemory joined = splice(geometry, pieces, {1, 5, 3}, a.rope, positions);
  const at::Tensor angle = angles(positions, plain_frequencies(kTheta, kHeadDim));
  const at::Tensor settled = angles(positions_from(4, 2), plain_frequencies(kTheta, kHeadDim));
  for (int64_t l = 0; l < 2; ++l) {
    const at::Tensor open = pick(b.before[static_cast<size_t>(l)], {1, 2, 3});
    expect_close(joined.keys(l, 0).narrow(2, 6, 3), turned(open, angle), turn_tolerance(open, angle));
    // Those of an earlier memory are settled, each at its index.
    const at::Tensor before = pick(a.before[static_cast<size_t>(l)], {4, 5});
    expect_close(joined.keys(l, 0).narrow(2, 4, 2), turned(before, settled), turn_tolerance(before, settled));
  }
}

TEST_F(KvSpliceTest, CutDropsBeaconsAndKeepsTheTail) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, ops::kBlockRows}) {
    const KvGeometry geometry = make_geometry(type);
    const Pair a = make_pair_of(geometry, 2, 8, 5);
    const KvPiece sink{&a.memory, 0, 2}, tail{&a.memory, 6, 9};
    const std::vector<KvPiece> pieces = {sink, tail};
    const KvMemory cut = splice(geometry, pieces, {2, 4, 5}, a.rope);
    expect_spliced(cut, {{&a, sink}, {&a, tail}});
    for (int64_t l = 0; l < 2; ++l) expect_equal(cut.keys_before_rope(l), a.memory.keys_before_rope(l));
  }
}

TEST_F(KvSpliceTest, CutWithoutTheOpenWindow) {
  const KvGeometry geometry = make_geometry();
  const Pair a = make_pair_of(geometry, 2, 8, 5);
  const KvPiece sink{&a.memory, 0, 2}, middle{&a.memory, 5, 3};
  const std::vector<KvPiece> pieces = {sink, middle, {&a.memory, 9, 0}};
  const KvMemory cut = splice(geometry, pieces, {2, 3, 0}, a.rope);
  EXPECT_TRUE(cut.counts() == (KvCounts{2, 3, 0}));
  EXPECT_EQ(cut.keys_before_rope(0).size(2), 0);
  expect_spliced(cut, {{&a, sink}, {&a, middle}});
}

TEST_F(KvSpliceTest, AWholeMemoryIsACopy) {
  const KvGeometry geometry = make_geometry(at::kBFloat16);
  const Pair a = make_pair_of(geometry, 1, 3, 4);
  const std::vector<KvPiece> pieces = {{&a.memory, 0, 8}};
  expect_same_bits(splice(geometry, pieces, a.memory.counts(), a.rope), a.memory);
}

TEST_F(KvSpliceTest, KeysThatAreNotRotatedAreOnlyMoved) {
  KvGeometry geometry = make_geometry();
  geometry.keys_rotated = false;
  const Pair a = make_pair_of(geometry, 1, 3, 2, RopeKind::kDynamic),
             b = make_pair_of(geometry, 1, 2, 3, RopeKind::kDynamic);
  const std::vector<KvPiece> pieces = {{&a.memory, 0, 6}, {&b.memory, 1, 5}};
  const KvMemory joined = splice(geometry, pieces, {1, 7, 3}, a.rope);
  for (int64_t l = 0; l < 2; ++l) {
    const auto i = static_cast<size_t>(l);
    expect_equal(joined.keys(l, 0), at::cat({a.before[i], b.before[i].narrow(2, 1, 5)}, 2));
  }
}

TEST_F(KvSpliceTest, NothingGivesAnEmptyMemory) {
  const KvGeometry geometry = make_geometry();
  const KvMemory empty = splice(geometry, {}, {}, make_rope());
  expect_same_bits(empty, KvMemory(geometry));
}

TEST_F(KvSpliceTest, CountsMustFitThePieces) {
  const KvGeometry geometry = make_geometry();
  const Pair a = make_pair_of(geometry, 1, 3, 2);
  const std::vector<KvPiece> pieces = {{&a.memory, 0, 6}};
  expect_error(ErrorCode::kInternal, "counts.total()", [&] { splice(geometry, pieces, {1, 4, 2}, a.rope); });
  expect_error(ErrorCode::kInternal, "counts.open", [&] { splice(geometry, pieces, {1, 2, 3}, a.rope); });
  expect_error(ErrorCode::kInternal, "geometry", [&] {
    splice(make_geometry(at::kBFloat16), pieces, {1, 3, 2}, a.rope);
  });
}

}  // namespace
}  // namespace beacon
