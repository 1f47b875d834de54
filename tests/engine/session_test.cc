// What a session promises: pieces equal one feed, save and load equal no interruption, marks, clones,
// threads, errors.
#include <beacon/session.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "session_fixture.h"

namespace beacon {
namespace {

using testing::code_of;
using testing::expect_near;
using testing::probe;
using testing::random_ids;
using testing::small_windows;
using testing::TemporaryFile;
using testing::tiny_model;

TEST(Session, PiecesEqualOneFeed) {
  const auto model = tiny_model();
  const std::vector<int32_t> ids = random_ids(101);
  for (const int64_t stride : {16, 8, 5}) {
    Session whole(model, small_windows(stride, stride < 16 ? 1 : 0));
    whole.feed(ids);
    const std::vector<float> expected = probe(whole);
    for (const size_t piece : {1, 7, 40}) {
      Session pieces(model, small_windows(stride, stride < 16 ? 1 : 0));
      for (size_t begin = 0; begin < ids.size(); begin += piece) {
        pieces.feed(std::span(ids).subspan(begin, std::min(piece, ids.size() - begin)));
      }
      expect_near(probe(pieces), expected);
      EXPECT_EQ(pieces.memory().source_hash(), whole.memory().source_hash());
      EXPECT_EQ(pieces.memory().beacon_spans(), whole.memory().beacon_spans());
    }
  }
}

std::vector<float> scores_after(const std::shared_ptr<const Model>& model, const SessionOptions& options,
                                size_t tokens) {
  Session session(model, options);
  session.feed(random_ids(tokens));
  return probe(session);
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

// Within a window nobody sees an echo: the base reads as if there were none.
TEST(Session, EchoesDisturbNothingInTheirWindow) {
  const auto model = tiny_model();
  SessionOptions options = small_windows();
  options.beacons.window = 64;
  SessionOptions plain = options;
  plain.beacons.enabled = false;
  const std::vector<float> expected = scores_after(model, plain, 40);  // and 12 more: no window closes
  options.beacons.attention = "echo";
  expect_near(scores_after(model, options, 40), expected);
  options.beacons.attention = "full-coverage";
  EXPECT_GT(largest_difference(scores_after(model, options, 40), expected), 0.01F);
}

TEST(Session, UntrainedBeaconsAreEchoesWhereTheyCanBe) {
  const auto model = tiny_model();
  const auto with = [&](const char* attention, const char* placement) {
    SessionOptions options = small_windows();
    if (attention != nullptr) options.beacons.attention = attention;
    if (placement != nullptr) options.beacons.placement = placement;
    return scores_after(model, options, 61);
  };
  EXPECT_EQ(with(nullptr, nullptr), with("echo", nullptr));
  EXPECT_NE(with(nullptr, nullptr), with("full-coverage", nullptr));
  EXPECT_EQ(with(nullptr, "append"), with("full-coverage", "append"));
}

// The gate that keeps untrained beacons nearly silent is not for echoes, unless it is asked for.
TEST(Session, UntrainedEchoesHaveNoGate) {
  ModelOptions of_model;
  of_model.model = testing::test_data() / "models/gguf_f32/model.gguf";
  of_model.compute = ComputeType::kF32;
  const auto scores = [&](std::optional<float> gate, const char* attention) {
    of_model.beacon_gate = gate;
    SessionOptions options = small_windows();
    options.beacons.attention = attention;
    return scores_after(Model::load(of_model), options, 61);
  };
  expect_near(scores(std::nullopt, "echo"), scores(0.0F, "echo"));
  EXPECT_GT(largest_difference(scores(-4.0F, "echo"), scores(0.0F, "echo")), 0.01F);
  expect_near(scores(std::nullopt, "full-coverage"), scores(-4.0F, "full-coverage"));
}

TEST(Session, LedgerCountsEverything) {
  Session session(tiny_model(), small_windows(16, 0));
  session.feed(random_ids(16 * 3 + 5));
  const Ledger ledger = session.ledger();
  EXPECT_EQ(ledger.tokens_read, 53);
  EXPECT_EQ(ledger.beacon_rows, 3 * 4);
  EXPECT_EQ(ledger.raw_rows, 5 + 1);  // the open window holds its first beacon
  EXPECT_EQ(ledger.positions, 18);
  EXPECT_EQ(ledger.ratios, (std::vector<int64_t>{4, 4, 4}));
  const ModelInfo& info = session.model().info();
  EXPECT_EQ(ledger.beacon_bytes,
            12 * info.num_hidden_layers * info.num_key_value_heads * info.head_dim * 2 * 4);
  EXPECT_DOUBLE_EQ(ledger.mean_ratio(), 47.0 / 12.0);
}

TEST(Session, BeaconsOffIsTheBaseModel) {
  const auto model = tiny_model();
  SessionOptions off;
  off.beacons.enabled = false;
  Session plain(model, off);
  SessionOptions raw = small_windows(16, 0);
  raw.beacons.ratios = {0};
  Session kept(model, raw);
  const std::vector<int32_t> ids = random_ids(70);
  expect_near(plain.score(ids), kept.score(ids));
  EXPECT_EQ(plain.ledger().beacon_rows, 0);
}

TEST(Session, SaveLoadContinueEqualsNoInterruption) {
  const auto model = tiny_model();
  for (const int64_t stride : {16, 8}) {
    Session session(model, small_windows(stride, stride < 16 ? 1 : 0));
    session.feed(random_ids(61));
    GenerateOptions options;
    options.max_new_tokens = 5;
    options.ignore_eos = true;
    options.sampling.temperature = 0.8F;
    options.sampling.seed = 7;
    session.generate(options);
    const TemporaryFile file("memory.beacon");
    session.save(file.path(), "a title");
    Session loaded(model, small_windows());
    loaded.load(file.path());
    EXPECT_EQ(loaded.memory().title(), "a title");
    EXPECT_EQ(loaded.memory().source_hash(), session.memory().source_hash());
    EXPECT_EQ(loaded.generate(options).ids, session.generate(options).ids);
    EXPECT_EQ(probe(loaded), probe(session));  // bit for bit
  }
}

TEST(Session, PlainMemoryIsSavedToo) {
  const auto model = tiny_model();
  SessionOptions off;
  off.beacons.enabled = false;
  Session session(model, off);
  session.feed(random_ids(40));
  const TemporaryFile file("memory.beacon");
  session.save(file.path());
  Session loaded(model, off);
  loaded.load(file.path());
  EXPECT_EQ(probe(loaded), probe(session));
}

TEST(Session, FailedLoadLeavesTheSessionAsItWas) {
  const auto model = tiny_model();
  Session session(model, small_windows());
  session.feed(random_ids(50));
  const TemporaryFile file("memory.beacon");
  session.save(file.path());
  std::string bytes;
  {
    std::ifstream in(file.path(), std::ios::binary);
    bytes.assign((std::istreambuf_iterator<char>(in)), {});
  }
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  const TemporaryFile broken("broken.beacon");
  std::ofstream(broken.path(), std::ios::binary) << bytes;
  Session twin = session.clone();
  EXPECT_EQ(code_of([&] { session.load(broken.path()); }), ErrorCode::kBadFile);
  EXPECT_EQ(code_of([&] { session.load(broken.path().parent_path() / "absent"); }), ErrorCode::kNotFound);
  EXPECT_EQ(probe(session), probe(twin));
  Session other(tiny_model("gguf_bf16"), small_windows());
  EXPECT_EQ(code_of([&] { other.load(file.path()); }), ErrorCode::kMismatch);
}

TEST(Session, RewindIsExactPastACloseAndMoreThanOnce) {
  const auto model = tiny_model();
  for (const int64_t stride : {16, 8}) {
    Session session(model, small_windows(stride, stride < 16 ? 1 : 0));
    session.feed(random_ids(43));
    const auto mark = session.mark();
    const std::vector<float> first = probe(session);
    session.feed(random_ids(75, 5));
    for (int i = 0; i < 2; ++i) {
      session.rewind(*mark);
      EXPECT_EQ(session.ledger().tokens_read, 43);
      EXPECT_EQ(probe(session), first);
    }
  }
}

TEST(Session, RewindRefusesForeignAndFutureMarks) {
  const auto model = tiny_model();
  Session session(model, small_windows());
  session.feed(random_ids(40));
  const auto mark = session.mark();
  Session other = session.clone();
  EXPECT_EQ(code_of([&] { other.rewind(*mark); }), ErrorCode::kInvalidArgument);
  session.reset();
  EXPECT_EQ(code_of([&] { session.rewind(*mark); }), ErrorCode::kInvalidArgument);
}

TEST(Session, CloneIsIndependent) {
  const auto model = tiny_model();
  Session session(model, small_windows());
  session.feed(random_ids(40));
  Session copy = session.clone();
  Session untouched = session.clone();
  copy.feed(random_ids(60, 3));
  EXPECT_EQ(probe(session), probe(untouched));
}

TEST(Session, ResetForgetsEverything) {
  const auto model = tiny_model();
  Session session(model, small_windows()), fresh(model, small_windows());
  session.feed(random_ids(40));
  session.reset();
  EXPECT_EQ(session.ledger().tokens_read, 0);
  EXPECT_EQ(probe(session), probe(fresh));
}

TEST(Session, TwoThreadsEqualOneAfterTheOther) {
  const auto model = tiny_model();
  const auto work = [&](unsigned seed) {
    Session session(model, small_windows());
    session.feed(random_ids(90, seed));
    return probe(session);
  };
  const std::vector<float> a = work(1), b = work(2);
  std::vector<float> threaded_a, threaded_b;
  std::thread first([&] { threaded_a = work(1); }), second([&] { threaded_b = work(2); });
  first.join();
  second.join();
  expect_near(threaded_a, a);
  expect_near(threaded_b, b);
}

TEST(Session, ProgressReachesTheEndAndCanStop) {
  const auto model = tiny_model();
  Session session(model, small_windows());
  std::vector<int64_t> done;
  session.feed(random_ids(50), [&](const Progress& progress) {
    EXPECT_EQ(progress.tokens_total, 50);
    done.push_back(progress.tokens_done);
    return true;
  });
  EXPECT_EQ(done.back(), 50);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));

  Session stopped(model, small_windows());
  EXPECT_EQ(
      code_of([&] { stopped.feed(random_ids(50), [](const Progress& p) { return p.tokens_done < 20; }); }),
      ErrorCode::kCancelled);
  const int64_t read = stopped.ledger().tokens_read;
  EXPECT_GE(read, 20);
  EXPECT_LT(read, 50);
  // What was read counts, the rest is forgotten: going on gives what a feed without the stop gives.
  const std::vector<int32_t> ids = random_ids(50);
  stopped.feed(std::span(ids).subspan(static_cast<size_t>(read)));
  expect_near(probe(stopped), probe(session));
}

TEST(Session, TooLongATextIsRefusedBeforeItIsRead) {
  const auto model = tiny_model();
  const auto limit = static_cast<size_t>(model->info().max_positions);
  SessionOptions options = small_windows(16, 0);
  Session session(model, options);
  EXPECT_EQ(code_of([&] { session.feed(random_ids(limit * 5)); }), ErrorCode::kCapacity);
  EXPECT_EQ(session.ledger().tokens_read, 0);
  options.beacons.beyond_positions = true;
  Session beyond(model, options);
  beyond.feed(random_ids(limit * 5));
  EXPECT_GT(beyond.ledger().positions, beyond.ledger().max_positions);
}

TEST(Session, BadIdsAreRefused) {
  Session session(tiny_model(), small_windows());
  session.feed(random_ids(10));
  Session twin = session.clone();
  const std::vector<int32_t> bad = {5, 6, 1 << 20};
  EXPECT_EQ(code_of([&] { session.feed(bad); }), ErrorCode::kInvalidArgument);
  const std::vector<int32_t> beacon = {session.model().tokenizer().vocab_size()};
  EXPECT_EQ(code_of([&] { session.feed(beacon); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(probe(session), probe(twin));
}

TEST(Session, GenerateFeedsWhatItSampled) {
  const auto model = tiny_model();
  Session session(model, small_windows());
  EXPECT_EQ(code_of([&] { session.generate({}); }), ErrorCode::kInvalidArgument);
  const std::vector<int32_t> ids = random_ids(30);
  session.feed(ids);
  GenerateOptions options;
  options.max_new_tokens = 9;
  options.ignore_eos = true;
  const GenerateResult first = session.generate(options);
  EXPECT_EQ(first.ids.size(), 9U);
  EXPECT_EQ(first.finish_reason, "length");
  EXPECT_EQ(session.ledger().tokens_read, 30 + 8);  // the last one waits

  // The same tokens fed by hand lead to the same memory.
  Session fed(model, small_windows());
  std::vector<int32_t> all = ids;
  all.insert(all.end(), first.ids.begin(), first.ids.end());
  fed.feed(all);
  expect_near(probe(session), probe(fed));
}

TEST(Session, TheGeneratorGoesOnUnlessTheSeedChanges) {
  const auto model = tiny_model();
  Session session(model, small_windows());
  session.feed(random_ids(30));
  GenerateOptions options;
  options.max_new_tokens = 6;
  options.ignore_eos = true;
  options.sampling.temperature = 1.5F;
  options.sampling.seed = 1;
  Session whole = session.clone();
  const auto first = session.generate(options).ids;
  Session other = session.clone();
  const auto second = session.generate(options).ids;
  options.sampling.seed = 2;
  EXPECT_NE(other.generate(options).ids, second);
  options.sampling.seed = 1;
  options.max_new_tokens = 12;
  std::vector<int32_t> joined = first;
  joined.insert(joined.end(), second.begin(), second.end());
  EXPECT_EQ(whole.generate(options).ids, joined);
}

TEST(Session, StopStringsAndCallbacksEndAGeneration) {
  const auto model = tiny_model();
  Session session(model, small_windows());
  session.feed(random_ids(30));
  GenerateOptions options;
  options.max_new_tokens = 40;
  options.ignore_eos = true;
  Session copy = session.clone();
  const GenerateResult whole = copy.generate(options);
  ASSERT_GE(whole.text.size(), 4U);
  options.stop = {whole.text.substr(2, 2)};
  Session stopped = session.clone();
  const GenerateResult result = stopped.generate(options);
  EXPECT_EQ(result.finish_reason, "stop");
  EXPECT_EQ(result.text, whole.text.substr(0, whole.text.find(options.stop.front())));

  options.stop.clear();
  int calls = 0;
  Session cancelled = session.clone();
  EXPECT_EQ(cancelled.generate(options, [&](const GeneratedToken&) { return ++calls < 3; }).finish_reason,
            "cancelled");
  EXPECT_EQ(calls, 3);
}

TEST(Session, ScoreIsTheNegativeLossAndJoinsPieces) {
  const auto model = tiny_model();
  Session whole(model, small_windows()), pieces(model, small_windows());
  const std::vector<int32_t> ids = random_ids(60);
  const std::vector<float> expected = whole.score(ids);
  EXPECT_EQ(expected.front(), 0.0F);  // nothing precedes the first token
  std::vector<float> joined = pieces.score(std::span(ids).first(23));
  const std::vector<float> rest = pieces.score(std::span(ids).subspan(23));
  joined.insert(joined.end(), rest.begin(), rest.end());
  expect_near(joined, expected);
  for (size_t i = 1; i < expected.size(); ++i) EXPECT_LT(expected[i], 0.0F);
}

TEST(Session, OptionsThatContradictAreRefused) {
  const auto model = tiny_model();
  const auto refused = [&](const std::function<void(BeaconOptions&)>& change) {
    SessionOptions options = small_windows();
    change(options.beacons);
    return code_of([&] { Session session(model, options); });
  };
  EXPECT_EQ(refused([](BeaconOptions& o) { o.window = 0; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused([](BeaconOptions& o) { o.stride = 17; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused([](BeaconOptions& o) { o.ratios = {9}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused([](BeaconOptions& o) { o.ratios = {3, 5}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused([](BeaconOptions& o) { o.ratios = {-1}; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused([](BeaconOptions& o) { o.sink = -1; }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused([](BeaconOptions& o) { o.placement = "sideways"; }), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace beacon
