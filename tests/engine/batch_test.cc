// Sessions that generate together: each gets what it would get alone.
#include <beacon/batch.h>
#include <gtest/gtest.h>

#include <map>
#include <stdexcept>

#include "session_fixture.h"

namespace beacon {
namespace {

using testing::code_of;
using testing::kRounding;
using testing::probe;
using testing::random_ids;
using testing::small_windows;
using testing::tiny_model;

// Sessions that have read texts of different lengths under different rules.
std::vector<Session> some_sessions(const std::shared_ptr<const Model>& model) {
  std::vector<Session> sessions;
  for (const auto& [stride, sink, length] :
       {std::tuple{8, 1, 37}, std::tuple{16, 0, 5}, std::tuple{16, 0, 95}, std::tuple{5, 1, 64}}) {
    sessions.emplace_back(model, small_windows(stride, sink));
    sessions.back().feed(random_ids(static_cast<size_t>(length), static_cast<unsigned>(length)));
  }
  return sessions;
}

GenerateOptions options_of(int64_t tokens, float temperature = 0.0F, uint64_t seed = 0) {
  GenerateOptions options;
  options.max_new_tokens = tokens;
  options.ignore_eos = true;
  options.sampling.temperature = temperature;
  options.sampling.seed = seed;
  return options;
}

std::map<const Session*, GenerateResult> run(Batch& batch) {
  std::map<const Session*, GenerateResult> results;
  while (batch.size() > 0) {
    for (BatchAnswer& answer : batch.step()) {
      EXPECT_EQ(answer.error, nullptr);
      EXPECT_TRUE(results.emplace(answer.session, std::move(answer.result)).second);
    }
  }
  return results;
}

// Long enough for windows to close on the way, at different steps.
TEST(Batch, EachSessionGetsItsOwnAnswer) {
  const auto model = tiny_model();
  std::vector<Session> together = some_sessions(model), alone = some_sessions(model);
  for (const float temperature : {0.0F, 0.9F}) {
    Batch batch(model);
    for (size_t i = 0; i < together.size(); ++i)
      batch.add(together[i], options_of(20 + 3 * static_cast<int64_t>(i), temperature, i));
    EXPECT_EQ(batch.size(), 4);
    const auto results = run(batch);
    ASSERT_EQ(results.size(), 4u);
    for (size_t i = 0; i < alone.size(); ++i) {
      const GenerateResult expected =
          alone[i].generate(options_of(20 + 3 * static_cast<int64_t>(i), temperature, i));
      const GenerateResult& result = results.at(&together[i]);
      EXPECT_EQ(result.ids, expected.ids);
      EXPECT_EQ(result.text, expected.text);
      EXPECT_EQ(result.finish_reason, "length");
    }
  }
  // And is left with the same memory, the last token pending.
  for (size_t i = 0; i < alone.size(); ++i) {
    const std::vector<float> expected = probe(alone[i]), found = probe(together[i]);
    for (size_t j = 0; j < expected.size(); ++j)
      EXPECT_NEAR(found[j], expected[j], kRounding) << i << ' ' << j;
    EXPECT_EQ(together[i].memory().source_hash(), alone[i].memory().source_hash());
  }
}

TEST(Batch, SessionsComeAndGo) {
  const auto model = tiny_model();
  std::vector<Session> together = some_sessions(model), alone = some_sessions(model);
  Batch batch(model);
  batch.add(together[0], options_of(9));
  EXPECT_TRUE(batch.step().empty());
  batch.add(together[1], options_of(3));
  EXPECT_TRUE(batch.step().empty());
  batch.add(together[2], options_of(50));
  EXPECT_TRUE(batch.step().empty());
  EXPECT_EQ(batch.step().at(0).session, &together[1]);
  const BatchAnswer cut = batch.remove(together[2]);
  EXPECT_EQ(cut.result.finish_reason, "cancelled");
  batch.add(together[1], options_of(2));  // a second turn
  const auto results = run(batch);
  EXPECT_EQ(results.at(&together[0]).ids, alone[0].generate(options_of(9)).ids);
  alone[1].generate(options_of(3));
  EXPECT_EQ(results.at(&together[1]).ids, alone[1].generate(options_of(2)).ids);
  EXPECT_EQ(cut.result.ids, alone[2].generate(options_of(2)).ids);
  EXPECT_TRUE(batch.step().empty());
}

TEST(Batch, AnAnswerOfNoTokensIsComplete) {
  const auto model = tiny_model();
  std::vector<Session> sessions = some_sessions(model);
  Batch batch(model);
  batch.add(sessions[0], options_of(0));
  batch.add(sessions[1], options_of(1));
  const auto answers = batch.step();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].result.ids.size(), 0u);
  EXPECT_EQ(answers[1].result.ids.size(), 1u);
  EXPECT_EQ(batch.size(), 0);
}

// What goes wrong in one session stays there.
TEST(Batch, ACallbackThatThrowsEndsItsSessionAlone) {
  const auto model = tiny_model();
  std::vector<Session> together = some_sessions(model), alone = some_sessions(model);
  Batch batch(model);
  batch.add(together[0], options_of(6));
  batch.add(together[1], options_of(6), [n = 0](const GeneratedToken&) mutable {
    if (++n == 3) throw std::runtime_error("enough");
    return true;
  });
  batch.add(together[2], options_of(6), [n = 0](const GeneratedToken&) mutable { return ++n < 2; });
  std::map<const Session*, BatchAnswer> answers;
  while (batch.size() > 0)
    for (BatchAnswer& answer : batch.step()) answers.emplace(answer.session, std::move(answer));
  EXPECT_EQ(answers.at(&together[0]).result.ids, alone[0].generate(options_of(6)).ids);
  EXPECT_EQ(answers.at(&together[1]).result.ids, alone[1].generate(options_of(3)).ids);
  EXPECT_EQ(answers.at(&together[2]).result.finish_reason, "cancelled");
  EXPECT_EQ(answers.at(&together[2]).result.ids.size(), 2u);
  EXPECT_THROW(std::rethrow_exception(answers.at(&together[1]).error), std::runtime_error);
}

TEST(Batch, FullPositionsEndAnAnswer) {
  const auto model = tiny_model();
  SessionOptions plain;
  plain.beacons.enabled = false;
  std::vector<Session> sessions;
  sessions.emplace_back(model, plain);
  sessions.emplace_back(model, plain);
  const auto positions = static_cast<size_t>(model->info().max_positions);
  sessions[0].feed(random_ids(positions - 2));
  sessions[1].feed(random_ids(10));
  Batch batch(model);
  for (Session& session : sessions) batch.add(session, options_of(8));
  const auto results = run(batch);
  EXPECT_EQ(results.at(&sessions[0]).finish_reason, "capacity");
  EXPECT_EQ(results.at(&sessions[0]).ids.size(), 3u);  // the last one needs no place
  EXPECT_EQ(results.at(&sessions[1]).ids.size(), 8u);
}

TEST(Batch, Refusals) {
  const auto model = tiny_model();
  std::vector<Session> sessions = some_sessions(model);
  Batch batch(model);
  batch.add(sessions[0], options_of(4));
  EXPECT_EQ(code_of([&] { batch.add(sessions[0], options_of(4)); }), ErrorCode::kInvalidArgument);
  Session empty(model, small_windows());
  EXPECT_EQ(code_of([&] { batch.add(empty, options_of(4)); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { batch.add(sessions[1], options_of(-1)); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { batch.remove(sessions[1]); }), ErrorCode::kInvalidArgument);
  Session stranger(tiny_model(), small_windows());
  stranger.feed(random_ids(4));
  EXPECT_EQ(code_of([&] { batch.add(stranger, options_of(4)); }), ErrorCode::kMismatch);
  EXPECT_EQ(batch.size(), 1);
}

}  // namespace
}  // namespace beacon
