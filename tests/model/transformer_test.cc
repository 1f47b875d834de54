#include "model/transformer.h"

#include "model/slow_twin.h"

namespace beacon {
namespace {

using namespace beacon::testing;

// Three layers of f32 against double: rows of 32 numbers of size 1, about 1e-6 a layer. A wrong projection,
// position or mask shows at 1e-2 and more (kVisible).
constexpr double kTolerance = 3e-5;
constexpr double kVisible = 1e-2;

// 24 rows with beacons after every fourth token, as an interleaved window has them.
TwinRows interleaved_rows() {
  TwinRows rows;
  const at::Tensor ids = at::randint(0, 20, {24}, at::kInt);
  for (int32_t r = 0; r < 24; ++r) {
    const bool beacon = r % 5 == 4;
    rows.ids.push_back(beacon ? 20 : ids[r].item<int32_t>());
    if (beacon) rows.beacon_rows.push_back(r);
    rows.beacon_keys.push_back(beacon ? 1 : 0);
    rows.positions.push_back(r);
  }
  return rows;
}

class TransformerTest : public TensorTest {
 protected:
  void SetUp() override {
    TensorTest::SetUp();
    config_ = tiny_config();
    weights_ = tiny_weights(config_);
  }

  void set_gate() {
    for (LayerWeights& layer : weights_.layers) layer.beacon.gate = at::tensor({-3.0F, 0.5F, 1.5F, -0.5F});
  }

  // Rows [begin, end) of the sequence over what the memory holds.
  at::Tensor forward(const TwinRows& rows, int64_t begin, int64_t end, int64_t hidden_rows,
                     KvMemory& memory) {
    const auto first = static_cast<size_t>(begin), count = static_cast<size_t>(end - begin);
    ForwardRows in;
    in.ids = std::span(rows.ids).subspan(first, count);
    in.positions = std::span(rows.positions).subspan(first, count);
    std::vector<int32_t> beacons, copies;
    for (const int32_t r : rows.beacon_rows) {
      if (r >= begin && r < end) beacons.push_back(r - static_cast<int32_t>(begin));
    }
    in.beacon_rows = beacons;
    for (size_t r = first; r < first + count && !rows.copy_from.empty(); ++r) {
      copies.push_back(rows.copy_from[r] < 0 ? -1 : rows.copy_from[r] - static_cast<int32_t>(begin));
    }
    in.copy_from = copies;
    std::vector<uint8_t> mask;
    if (rows.mask.defined()) {
      const at::Tensor part =
          rows.mask.narrow(0, begin, end - begin).narrow(1, 0, end).to(at::kByte).contiguous();
      mask.assign(part.const_data_ptr<uint8_t>(), part.const_data_ptr<uint8_t>() + part.numel());
    }
    in.mask = mask;
    if (!rows.beacon_keys.empty())
      in.beacon_keys = std::span(rows.beacon_keys).first(static_cast<size_t>(end));
    in.hidden_rows = hidden_rows;
    in.echoes = rows.echoes;
    return make_transformer(config_, weights_).forward(in, memory, scratch_);
  }

  at::Tensor forward_all(const TwinRows& rows) {
    KvMemory memory = empty_memory(config_);
    const auto count = static_cast<int64_t>(rows.ids.size());
    return forward(rows, 0, count, count, memory)[0];
  }

  TwinResult twin(const TwinRows& rows) const { return run_twin(config_, weights_, rows); }

  void expect_memory(const KvMemory& memory, const TwinResult& expected, int64_t rows) const {
    for (int64_t l = 0; l < config_.num_hidden_layers; ++l) {
      const auto i = static_cast<size_t>(l);
      expect_close(memory.keys(l, 0)[0], expected.k[i].narrow(1, 0, rows), 10 * kTolerance);
      expect_close(memory.values(l, 0)[0], expected.v[i].narrow(1, 0, rows), 10 * kTolerance);
    }
  }

  ModelConfig config_;
  ModelWeights weights_;
  TransformerScratch scratch_;
};

TEST_F(TransformerTest, PlainRowsEqualTheTwin) {
  TwinRows rows;
  rows.ids = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
  rows.positions = positions_from(0, 16);
  KvMemory memory = empty_memory(config_);
  const TwinResult expected = twin(rows);
  expect_close(forward(rows, 0, 16, 16, memory)[0], expected.hidden, kTolerance);
  EXPECT_TRUE(memory.counts() == (KvCounts{0, 0, 16}));
  expect_memory(memory, expected, 16);
}

TEST_F(TransformerTest, BeaconRowsTakeTheirOwnProjections) {
  const TwinRows rows = interleaved_rows();
  KvMemory memory = empty_memory(config_);
  const TwinResult expected = twin(rows);
  expect_close(forward(rows, 0, 24, 24, memory)[0], expected.hidden, kTolerance);
  expect_memory(memory, expected, 24);
}

TEST_F(TransformerTest, AnEchoBeginsAsTheTokenItFollows) {
  TwinRows rows = interleaved_rows();
  const at::Tensor without = twin(rows).hidden;
  rows.echoes = true;
  for (const int32_t r : rows.beacon_rows)
    rows.ids[static_cast<size_t>(r)] = rows.ids[static_cast<size_t>(r) - 1];
  const at::Tensor expected = twin(rows).hidden;
  EXPECT_GT((expected - without).abs().max().item<double>(), kVisible);
  expect_close(forward_all(rows), expected, kTolerance);
}

// Each projection matters, and without it the base's is used.
TEST_F(TransformerTest, AMissingProjectionIsTheBases) {
  const TwinRows rows = interleaved_rows();
  const at::Tensor all = twin(rows).hidden;
  const ModelWeights complete = weights_;
  for (auto part : {&BeaconProjections::q, &BeaconProjections::k, &BeaconProjections::v,
                    &BeaconProjections::o, &BeaconProjections::up, &BeaconProjections::down}) {
    weights_ = complete;
    for (LayerWeights& layer : weights_.layers) layer.beacon.*part = {};
    const at::Tensor expected = twin(rows).hidden;
    EXPECT_GT((expected - all).abs().max().item<double>(), kVisible);
    expect_close(forward_all(rows), expected, kTolerance);
  }
}

TEST_F(TransformerTest, GateIsAddedToScoresOfBeaconKeys) {
  TwinRows rows = interleaved_rows();
  const at::Tensor without = twin(rows).hidden;
  set_gate();
  const at::Tensor expected = twin(rows).hidden;
  EXPECT_GT((expected - without).abs().max().item<double>(), kVisible);
  expect_close(forward_all(rows), expected, kTolerance);
  rows.beacon_keys.clear();
  expect_close(forward_all(rows), without, kTolerance);
}

TEST_F(TransformerTest, MaskDecidesWhatIsSeen) {
  TwinRows rows = interleaved_rows();
  const at::Tensor causal = twin(rows).hidden;
  rows.mask = at::rand({24, 24}).lt(0.5).logical_or(at::eye(24, at::kBool)).tril();
  set_gate();
  const at::Tensor expected = twin(rows).hidden;
  EXPECT_GT((expected - causal).abs().max().item<double>(), kVisible);
  expect_close(forward_all(rows), expected, kTolerance);
}

// A replica stands for a beacon at another position: its q, k and v are the beacon's, before rotation.
TEST_F(TransformerTest, ReplicasRepeatTheirBeacon) {
  TwinRows rows = interleaved_rows();
  const at::Tensor without = twin(rows).hidden;
  rows.copy_from.assign(24, -1);
  rows.copy_from[15] = 4;
  rows.copy_from[16] = 9;
  for (const size_t r : {15, 16}) {
    rows.ids[r] = 20;
    rows.beacon_keys[r] = 1;
    rows.positions[r] = static_cast<int32_t>(r) - 15;
  }
  const TwinResult expected = twin(rows);
  KvMemory memory = empty_memory(config_);
  const at::Tensor hidden = forward(rows, 0, 24, 24, memory)[0];
  expect_memory(memory, expected, 24);
  // A replica's own hidden state is never used and not defined.
  EXPECT_GT((expected.hidden.narrow(0, 17, 7) - without.narrow(0, 17, 7)).abs().max().item<double>(),
            kVisible);
  expect_close(hidden.narrow(0, 0, 15), expected.hidden.narrow(0, 0, 15), kTolerance);
  expect_close(hidden.narrow(0, 17, 7), expected.hidden.narrow(0, 17, 7), kTolerance);
  KvMemory again = empty_memory(config_);
  expect_close(forward(rows, 0, 24, 7, again)[0], expected.hidden.narrow(0, 17, 7), kTolerance);
  expect_memory(again, expected, 24);
}

TEST_F(TransformerTest, InPiecesAsAtOnce) {
  set_gate();
  for (const bool masked : {false, true}) {
    TwinRows rows = interleaved_rows();
    if (masked) rows.mask = at::rand({24, 24}).lt(0.5).logical_or(at::eye(24, at::kBool)).tril();
    const TwinResult expected = twin(rows);
    for (const std::vector<int64_t>& cuts :
         {std::vector<int64_t>{0, 1, 2, 5, 14, 24}, std::vector<int64_t>{0, 23, 24},
          std::vector<int64_t>{0, 13, 24}}) {
      KvMemory memory = empty_memory(config_);
      for (size_t i = 1; i < cuts.size(); ++i) {
        const int64_t count = cuts[i] - cuts[i - 1];
        expect_close(forward(rows, cuts[i - 1], cuts[i], count, memory)[0],
                     expected.hidden.narrow(0, cuts[i - 1], count), kTolerance);
      }
      expect_memory(memory, expected, 24);
    }
  }
}

// Fewer hidden rows are the same rows, and keys and values of the last layer are written for all.
TEST_F(TransformerTest, HiddenRowsAreTheLastOnes) {
  set_gate();
  for (const bool masked : {false, true}) {
    TwinRows rows = interleaved_rows();
    if (masked) rows.mask = at::rand({24, 24}).lt(0.5).logical_or(at::eye(24, at::kBool)).tril();
    const TwinResult expected = twin(rows);
    for (const int64_t wanted : {0, 1, 4, 12, 23}) {
      SCOPED_TRACE(wanted);
      KvMemory memory = empty_memory(config_);
      forward(rows, 0, 3, 0, memory);
      const at::Tensor hidden = forward(rows, 3, 24, std::min<int64_t>(wanted, 21), memory);
      EXPECT_EQ(hidden.sizes().vec(), (std::vector<int64_t>{1, std::min<int64_t>(wanted, 21), 32}));
      expect_close(hidden[0], expected.hidden.narrow(0, 24 - hidden.size(1), hidden.size(1)), kTolerance);
      expect_memory(memory, expected, 24);
    }
  }
}

TEST_F(TransformerTest, ABatchIsItsSequences) {
  set_gate();
  const TwinRows first = interleaved_rows();
  TwinRows second = interleaved_rows();
  TwinRows both = first;
  both.ids.insert(both.ids.end(), second.ids.begin(), second.ids.end());
  ASSERT_NE(first.ids, second.ids);
  for (const int64_t wanted : {24, 3}) {
    KvMemory memory = empty_memory(config_, 2);
    ForwardRows in;
    in.ids = both.ids;
    in.positions = both.positions;
    in.beacon_rows = both.beacon_rows;
    in.beacon_keys = both.beacon_keys;
    in.hidden_rows = wanted;
    const Transformer net = make_transformer(config_, weights_);
    const at::Tensor hidden = net.forward(in, memory, scratch_);
    expect_close(hidden[0], twin(first).hidden.narrow(0, 24 - wanted, wanted), kTolerance);
    expect_close(hidden[1], twin(second).hidden.narrow(0, 24 - wanted, wanted), kTolerance);
    // One more row each.
    const std::vector<int32_t> next = {7, 11}, position = {24};
    in = {};
    in.ids = next;
    in.positions = position;
    const std::vector<uint8_t> keys = [&] {
      auto k = first.beacon_keys;
      k.push_back(0);
      return k;
    }();
    in.beacon_keys = keys;
    in.hidden_rows = 1;
    const at::Tensor after = net.forward(in, memory, scratch_);
    for (int64_t b = 0; b < 2; ++b) {
      TwinRows longer = b == 0 ? first : second;
      longer.ids.push_back(next[static_cast<size_t>(b)]);
      longer.positions.push_back(24);
      longer.beacon_keys.push_back(0);
      expect_close(after[b], twin(longer).hidden.narrow(0, 24, 1), kTolerance);
    }
  }
}

// Sequences of different lengths, some with beacons, over memories of different lengths.
TEST_F(TransformerTest, SequencesTogetherAreEachAlone) {
  set_gate();
  const Transformer net = make_transformer(config_, weights_);
  struct Sequence {
    int64_t before, rows, wanted;
  };
  const TwinRows rows = interleaved_rows();
  const TwinResult expected = twin(rows);
  for (const std::vector<Sequence>& sequences : {std::vector<Sequence>{{0, 5, 5}, {9, 1, 1}, {4, 3, 2}},
                                                 {{23, 1, 1}, {12, 1, 1}, {0, 1, 1}},
                                                 {{3, 21, 21}, {2, 9, 0}, {14, 1, 1}},
                                                 {{8, 7, 0}, {1, 2, 0}},
                                                 {{0, 5, 5}, {9, 1, 1}, {4, 3, 0}, {7, 1, 1}, {12, 2, 1}},
                                                 {{0, 24, 24}, {0, 20, 3}, {2, 9, 0}, {14, 1, 1}}}) {
    std::vector<KvMemory> memories;
    std::vector<std::vector<int32_t>> beacons(sequences.size());
    std::vector<SequenceRows> in;
    for (const Sequence& s : sequences) {
      memories.push_back(empty_memory(config_));
      if (s.before > 0) forward(rows, 0, s.before, 0, memories.back());
    }
    for (size_t i = 0; i < sequences.size(); ++i) {
      const auto first = static_cast<size_t>(sequences[i].before),
                 count = static_cast<size_t>(sequences[i].rows);
      for (const int32_t r : rows.beacon_rows)
        if (r >= sequences[i].before && r < sequences[i].before + sequences[i].rows)
          beacons[i].push_back(r - static_cast<int32_t>(first));
      SequenceRows& one = in.emplace_back();
      one.memory = &memories[i];
      one.rows.ids = std::span(rows.ids).subspan(first, count);
      one.rows.positions = std::span(rows.positions).subspan(first, count);
      one.rows.beacon_rows = beacons[i];
      one.rows.beacon_keys = std::span(rows.beacon_keys).first(first + count);
      one.rows.hidden_rows = sequences[i].wanted;
    }
    const std::vector<at::Tensor> hidden = net.forward(in, scratch_);
    ASSERT_EQ(hidden.size(), sequences.size());
    for (size_t i = 0; i < sequences.size(); ++i) {
      SCOPED_TRACE(i);
      const Sequence& s = sequences[i];
      ASSERT_EQ(hidden[i].size(1), s.wanted);
      expect_close(hidden[i][0], expected.hidden.narrow(0, s.before + s.rows - s.wanted, s.wanted),
                   kTolerance);
      expect_memory(memories[i], expected, s.before + s.rows);
    }
  }
}

TEST_F(TransformerTest, SlidingWindowHidesOlderKeys) {
  TwinRows rows = interleaved_rows();
  const at::Tensor everything = twin(rows).hidden;
  config_.sliding_window = 6;
  // A row sees itself and the 5 before it.
  rows.mask = at::ones({24, 24}, at::kBool).tril().triu(-5);
  const TwinResult expected = twin(rows);
  EXPECT_GT((expected.hidden - everything).abs().max().item<double>(), kVisible);
  rows.mask = at::Tensor();
  expect_close(forward_all(rows), expected.hidden, kTolerance);
  KvMemory memory = empty_memory(config_);
  for (const auto& [begin, end] : {std::pair{0, 4}, std::pair{4, 5}, std::pair{5, 20}, std::pair{20, 24}}) {
    expect_close(forward(rows, begin, end, end - begin, memory)[0],
                 expected.hidden.narrow(0, begin, end - begin), kTolerance);
  }
  // Together with a mask of the plan both hold.
  const at::Tensor planned = at::rand({24, 24}).lt(0.6).logical_or(at::eye(24, at::kBool)).tril();
  rows.mask = planned.logical_and(at::ones({24, 24}, at::kBool).triu(-5));
  const at::Tensor masked = twin(rows).hidden;
  rows.mask = planned;
  expect_close(forward_all(rows), masked, kTolerance);
}

// Within the trained length dynamic NTK is the plain rotation, only done on reading; rows of the open window
// keep the places a plan gave them.
TEST_F(TransformerTest, KeysRotatedOnReadingKeepTheirPositions) {
  TwinRows rows = interleaved_rows();
  for (size_t r = 4; r < 12; ++r) rows.positions[r] = static_cast<int32_t>(r / 2);
  const TwinResult expected = twin(rows);
  config_.rope.kind = RopeKind::kDynamic;
  config_.rope.factor = 2.0;
  KvMemory memory = empty_memory(config_);
  expect_close(forward(rows, 0, 12, 12, memory)[0], expected.hidden.narrow(0, 0, 12), kTolerance);
  ForwardRows in;
  in.ids = std::span(rows.ids).subspan(12);
  in.positions = std::span(rows.positions).subspan(12);
  in.open_positions = std::span(rows.positions).first(12);
  const std::vector<int32_t> beacons = {2, 7};
  in.beacon_rows = beacons;
  in.hidden_rows = 12;
  const Transformer net = make_transformer(config_, weights_);
  KvMemory other = memory.clone();
  expect_close(net.forward(in, memory, scratch_)[0], expected.hidden.narrow(0, 12, 12), kTolerance);
  in.open_positions = {};
  const at::Tensor misplaced = net.forward(in, other, scratch_)[0];
  EXPECT_GT((misplaced - expected.hidden.narrow(0, 12, 12)).abs().max().item<double>(), kVisible);
}

// Beyond it all keys follow the longest position: equal to a base raised for all rows.
TEST_F(TransformerTest, DynamicNtkTurnsAllKeysByTheSameBase) {
  TwinRows rows = interleaved_rows();
  config_.max_position_embeddings = 16;
  config_.rope.kind = RopeKind::kDynamic;
  config_.rope.factor = 2.0;
  ModelConfig raised = config_;
  raised.rope.theta *= std::pow(2.0 * 24 / 16 - 1, 8.0 / 6.0);
  const at::Tensor expected = run_twin(raised, weights_, rows).hidden;
  EXPECT_GT((expected - twin(rows).hidden).abs().max().item<double>(), kVisible);
  expect_close(forward_all(rows), expected, kTolerance);
  // In pieces as well, when the length is known from the start.
  KvMemory memory = empty_memory(config_);
  memory.set_longest(24);
  expect_close(forward(rows, 0, 9, 9, memory)[0], expected.narrow(0, 0, 9), kTolerance);
  expect_close(forward(rows, 9, 24, 15, memory)[0], expected.narrow(0, 9, 15), kTolerance);
}

TEST_F(TransformerTest, LogitsAreTheHeadsProduct) {
  const at::Tensor hidden = at::randn({3, 32});
  const at::Tensor head = ops::expand(weights_.lm_head, at::kFloat).to(at::kDouble);
  const Transformer net = make_transformer(config_, weights_);
  expect_close(net.logits(hidden, scratch_), at::mm(hidden.to(at::kDouble), head.t()), 1e-5);
}

TEST_F(TransformerTest, Bf16StaysNearTheTwin) {
  const TwinRows rows = interleaved_rows();
  const at::Tensor expected = twin(rows).hidden;
  scratch_.linear.compute = at::kBFloat16;
  KvGeometry geometry = empty_memory(config_).geometry();
  geometry.type = at::kBFloat16;
  KvMemory memory(geometry);
  const at::Tensor hidden = forward(rows, 0, 24, 24, memory)[0];
  // 3 layers of about 5 roundings to bf16 one behind the other, as independent errors, and twice that for
  // safety.
  const double error = ((hidden - expected).norm() / expected.norm()).item<double>();
  EXPECT_LE(error, 2 * std::sqrt(15.0) * kEpsBf16);
  EXPECT_GT(error, kEpsBf16 / 16);
}

TEST_F(TransformerTest, BadIdsAreRefused) {
  TwinRows rows;
  rows.ids = {3, 21};
  rows.positions = {0, 1};
  KvMemory memory = empty_memory(config_);
  expect_error(ErrorCode::kInvalidArgument, "token id 21", [&] { forward(rows, 0, 2, 0, memory); });
  EXPECT_EQ(memory.counts().total(), 0);
}

}  // namespace
}  // namespace beacon
