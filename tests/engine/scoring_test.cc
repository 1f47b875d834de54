// Scores of tokens, against sessions and against masks over the plain model.
#include "engine/scoring.h"

#include <ATen/ATen.h>
#include <beacon/session.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <numeric>

#include "engine/memory_impl.h"
#include "engine/window_setup.h"
#include "session_fixture.h"

namespace beacon {
namespace {

using testing::expect_near;
using testing::kRounding;
using testing::random_ids;
using testing::small_windows;
using testing::tiny_model;

std::vector<float> tail_of(const std::vector<float>& all, int64_t from) {
  return {all.begin() + from, all.end()};
}

// The plain model over all ids at once, row r seeing keys [first_seen[r], r] only, at positions in the text.
std::vector<float> masked_scores(const Model::Impl& model, const std::vector<int32_t>& ids,
                                 const std::vector<int64_t>& first_seen) {
  const c10::InferenceMode inference;
  const auto n = static_cast<int64_t>(ids.size());
  WindowOptions options;
  options.enabled = false;
  KvMemory memory(kv_geometry(model, options, at::kFloat));
  TransformerScratch scratch;
  scratch.linear.compute = at::kFloat;
  std::vector<int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  std::vector<uint8_t> mask(ids.size() * ids.size(), 0);
  for (int64_t r = 0; r < n; ++r)
    for (int64_t k = first_seen[static_cast<size_t>(r)]; k <= r; ++k)
      mask[static_cast<size_t>(r * n + k)] = 1;
  ForwardRows rows;
  rows.ids = ids;
  rows.positions = positions;
  rows.mask = mask;
  rows.hidden_rows = n;
  const at::Tensor hidden = model.net.forward(rows, memory, scratch);
  const at::Tensor log_p = at::log_softmax(model.net.logits(hidden.select(0, 0), scratch), -1);
  std::vector<float> out(ids.size(), 0.0F);
  for (int64_t t = 1; t < n; ++t)
    out[static_cast<size_t>(t)] = log_p[t - 1][ids[static_cast<size_t>(t)]].item<float>();
  return out;
}

TEST(Scoring, BeaconsEqualASession) {
  const auto model = tiny_model();
  const std::vector<int32_t> ids = random_ids(101);
  for (const int64_t stride : {16, 8, 5}) {
    const SessionOptions options = small_windows(stride, stride < 16 ? 1 : 0);
    Session session(model, options);
    const std::vector<float> all = session.score(ids);
    for (const int64_t from : {1, 2, 16, 50, 100})
      expect_near(score_tokens(*model, {options, Remembering::kBeacons, from}, ids), tail_of(all, from));
  }
}

// 8-bit keys and values: near the exact ones, and not equal to them.
TEST(Scoring, MemoryInBlocksStaysNear) {
  ModelOptions options;
  options.model = BEACON_TEST_DATA_DIR "/models/llama_tiny";
  options.compute = ComputeType::kF32;
  options.beacon_gate = 0.0F;
  const auto impl = load_model(options, /*need_tokenizer=*/false);
  const c10::InferenceMode inference;
  for (const bool beacons : {true, false}) {
    SessionOptions session = small_windows();
    session.beacons.enabled = beacons;
    at::Tensor last[2];
    for (const MemoryType type : {MemoryType::kF32, MemoryType::kQ8_0}) {
      ReadState state{
          Planner(resolve_window(session.beacons, *impl)),
          KvMemory(kv_geometry(*impl, resolve_window(session.beacons, *impl), memory_scalar(type, *impl))),
          {},
          {}};
      TransformerScratch scratch;
      set_compute(*impl, scratch);
      at::Tensor& hidden = last[type == MemoryType::kQ8_0 ? 1 : 0];
      ReadRequest request;
      std::vector<int32_t> ids = random_ids(70);
      for (int32_t& id : ids) id %= static_cast<int32_t>(impl->info.vocab_size);
      request.ids = ids;
      request.on_hidden = [&](int64_t, const at::Tensor& rows) { hidden = rows.clone(); };
      read_tokens(impl->net, state, request, scratch);
    }
    const double error = ((last[0] - last[1]).norm() / last[0].norm()).item<double>();
    // Rounding to 8 bits errs by a 400th of the largest of 32 numbers, by 1 % of a usual one; keys and values
    // of every layer do.
    EXPECT_GT(error, 1e-5);
    EXPECT_LT(error, 0.02);
  }
}

TEST(Scoring, EverythingIsThePlainModel) {
  const auto model = tiny_model();
  const std::vector<int32_t> ids = random_ids(90);
  const std::vector<float> plain = masked_scores(model->impl(), ids, std::vector<int64_t>(ids.size(), 0));
  expect_near(score_tokens(*model, {small_windows(), Remembering::kEverything, 20}, ids), tail_of(plain, 20));
}

TEST(Scoring, NothingIsThePlainModelOnEachWindow) {
  const auto model = tiny_model();
  const std::vector<int32_t> ids = random_ids(75);
  std::vector<int64_t> first_seen;
  for (int64_t r = 0; r < 75; ++r) first_seen.push_back(r / 16 * 16);
  const auto expected = masked_scores(model->impl(), ids, first_seen);
  expect_near(score_tokens(*model, {small_windows(), Remembering::kNothing, 1}, ids), tail_of(expected, 1));
}

TEST(Scoring, TailSeesTheOpenWindowAndNothingElse) {
  const auto model = tiny_model();
  const std::vector<int32_t> ids = random_ids(75);
  for (const int64_t stride : {8, 5}) {
    SessionOptions options = small_windows(stride, 0);
    // A row sees its open window: closes happen behind tokens 15, 15 + stride, ... and each lets go of stride
    // tokens. Without a sink renumbering shifts all positions alike, so that those of the text will do.
    std::vector<int64_t> first_seen;
    for (int64_t r = 0; r < 75; ++r) first_seen.push_back(r < 16 ? 0 : ((r - 16) / stride + 1) * stride);
    const auto expected = masked_scores(model->impl(), ids, first_seen);
    expect_near(score_tokens(*model, {options, Remembering::kTail, 1}, ids), tail_of(expected, 1));
    // With a sink it is another text.
    options.beacons.sink = 1;
    const auto with_sink = score_tokens(*model, {options, Remembering::kTail, 1}, ids);
    EXPECT_GT(std::abs(with_sink[40] - expected[41]), 100 * kRounding);
  }
}

TEST(Scoring, Refusals) {
  const auto model = tiny_model();
  const auto code = [&](std::vector<int32_t> ids, int64_t from, Remembering remembering) {
    try {
      score_tokens(*model, {small_windows(), remembering, from}, ids);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code(random_ids(20), 0, Remembering::kTail), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(random_ids(20), 20, Remembering::kTail), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code({}, 1, Remembering::kTail), ErrorCode::kInvalidArgument);
  std::vector<int32_t> outside = random_ids(20);
  outside.back() = static_cast<int32_t>(model->info().vocab_size);
  EXPECT_EQ(code(outside, 5, Remembering::kTail), ErrorCode::kInvalidArgument);
  const auto too_long = random_ids(static_cast<size_t>(model->info().max_positions) + 2);
  EXPECT_EQ(code(too_long, 5, Remembering::kEverything), ErrorCode::kCapacity);
}

TEST(Scoring, CanBeStopped) {
  const auto model = tiny_model();
  int64_t last = 0;
  EXPECT_THROW(score_tokens(*model, {small_windows(), Remembering::kTail, 5}, random_ids(100),
                            [&](const Progress& progress) {
                              EXPECT_EQ(progress.tokens_total, 100);
                              EXPECT_GT(progress.tokens_done, last);
                              last = progress.tokens_done;
                              return last < 40;
                            }),
               Error);
  EXPECT_LT(last, 70);
}

}  // namespace
}  // namespace beacon
