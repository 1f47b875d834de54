// Batches, the teacher's hidden states, and counts of operations.
#include "model/slow_twin.h"
#include "train/flops.h"
#include "train/micro_batch.h"
#include "train/teacher.h"
#include "window/labels.h"

namespace beacon {
namespace {

using namespace beacon::testing;

WindowOptions windows() {
  WindowOptions o;
  o.training = true;
  o.window = 8;
  o.stride = 4;
  o.ratio.ratios = {4};
  return o;
}

train::Sample sample(int32_t first, size_t count) {
  train::Sample s;
  for (size_t i = 0; i < count; ++i) s.ids.push_back(first + static_cast<int32_t>(i));
  s.labels = s.ids;
  return s;
}

TEST(MicroBatchTest, ShiftsLabelsAndPadsTheEnd) {
  train::Sample shorter = sample(50, 9);
  shorter.labels[4] = kIgnoredLabel;
  const MicroBatch b = make_batch(windows(), {sample(1, 11), shorter});
  EXPECT_EQ(b.batch, 2);
  EXPECT_EQ(b.num_tokens, 11);
  EXPECT_EQ(b.num_sample_tokens, 20);
  EXPECT_EQ(b.ids.size(), 22U);
  EXPECT_EQ(b.ids[11], 50);
  EXPECT_EQ(b.ids[21], 58);
  // The last token of each sample predicts nothing, nor do the padding and the one before label 4.
  EXPECT_EQ(b.num_labels, 10 + 7);
  EXPECT_EQ(b.labels[0][0], 2);
  EXPECT_EQ(b.labels[1][2], 53);
  for (const size_t t : {3, 8, 9, 10}) EXPECT_EQ(b.labels[1][t], kIgnoredLabel) << t;
}

TEST(MicroBatchTest, WhatIsOnlyReadMayCountALittle) {
  train::Sample asked = sample(50, 9);
  for (const size_t t : {1, 2, 3, 4, 5, 6}) asked.labels[t] = kIgnoredLabel;
  const MicroBatch b = make_batch(windows(), {sample(1, 11), asked}, 0.25);
  // Every token but the last of each sample has a label, the padding has none.
  EXPECT_EQ(b.num_labels, 10 + 8);
  for (size_t t = 0; t < 10; ++t) EXPECT_EQ(b.weights[0][t], 1.0F) << t;
  for (size_t t = 0; t < 8; ++t) {
    EXPECT_EQ(b.labels[1][t], b.ids[11 + t + 1]) << t;
    EXPECT_EQ(b.weights[1][t], t < 6 ? 0.25F : 1.0F) << t;
  }
  for (const size_t t : {8, 9, 10}) EXPECT_EQ(b.labels[1][t], kIgnoredLabel) << t;
}

TEST(MicroBatchTest, UnequalNumbersOfWindowsAreRefused) {
  expect_error(ErrorCode::kInvalidArgument, "grouping", [] {
    make_batch(windows(), {sample(1, 13), sample(1, 12)});
  });
}

class TeacherTest : public TensorTest {};

// The slow twin of the network reads the tokens as if there were no beacons.
TEST_F(TeacherTest, IsTheBaseReadingEverything) {
  const ModelConfig config = tiny_config();
  const ModelWeights weights = tiny_weights(config);
  const RecordedNetwork net(config, frozen_base(weights, at::kFloat),
                            BeaconParameters::from(config, weights, {.q = true}, -2.0F),
                            ops::Rope(config.rope, config.head_dim, config.max_position_embeddings),
                            {ops::autograd::Recording::kFused, at::kFloat});
  TwinRows rows;
  for (int i = 0; i < 23; ++i) rows.ids.push_back(i * 7 % 20);
  rows.positions = positions_from(0, 23);
  std::vector<int32_t> both(23, 3);
  both.insert(both.end(), rows.ids.begin(), rows.ids.end());
  const at::Tensor hidden = teacher_hidden(net, both, 2, 100);
  EXPECT_FALSE(hidden.requires_grad());
  const at::Tensor expected = run_twin(config, weights, rows).hidden;
  // As the tests of the network: three layers of f32 against double.
  expect_close(hidden[1], expected, 3e-5);
  expect_close(teacher_hidden(net, both, 2, 9)[1], expected.narrow(0, 0, 9), 3e-5);
}

TEST(FlopsTest, CountsProductsAndPairs) {
  const ModelConfig c = tiny_config();  // 3 layers, hidden 32, ffn 48, 4 heads of 8 on 2
  const double weights = 3 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48);
  // x0..x7 with beacons after x3 and x7, then x8 x9 over the two beacons.
  WindowOptions o = windows();
  o.stride = 8;
  const ForwardFlops f = forward_flops(c, plan_sequence(o, 10), 2);
  EXPECT_DOUBLE_EQ(f.products, 2 * weights * 12 * 2);
  EXPECT_DOUBLE_EQ(f.attention, 4.0 * 3 * 32 * (55 + 3 + 4) * 2);
  const ForwardFlops full = full_attention_flops(c, 10, 1);
  EXPECT_DOUBLE_EQ(full.products, 2 * weights * 10);
  EXPECT_DOUBLE_EQ(full.attention, 4.0 * 3 * 32 * 55);
  EXPECT_DOUBLE_EQ(head_flops(c, 5), 2.0 * 20 * 32 * 5);
}

}  // namespace
}  // namespace beacon
