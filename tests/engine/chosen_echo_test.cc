// Sessions whose echoes follow chosen tokens: which ones, and that no way of reading a text changes them.
#include <beacon/batch.h>
#include <gtest/gtest.h>

#include "io/adapter.h"
#include "memory/memory_file.h"
#include "session_fixture.h"

namespace beacon {
namespace {

using namespace beacon::testing;

constexpr int64_t kStride = 8;

// The tiny model with an adapter that holds nothing but the worth of tokens: `worth` of each id.
std::shared_ptr<const Model> model_with(float (*worth)(int64_t id)) {
  const TemporaryFile folder("adapter");
  std::vector<float> values;
  for (int64_t id = 0; id < tiny_model()->info().vocab_size; ++id) values.push_back(worth(id));
  TensorView view;
  view.name = kTokenWorth;
  view.dtype = DType::kF32;
  view.shape = {static_cast<int64_t>(values.size())};
  view.bytes = std::as_bytes(std::span(values));
  BeaconConfig config;
  config.window = 2 * kStride;
  config.stride = kStride;
  config.attention = BeaconAttentionRule::kChosenEcho;
  config.ratios = {4};
  config.sink_size = 1;
  write_adapter(folder.path(), config, {}, std::span(&view, 1));
  ModelOptions options;
  options.model = test_data() / "models/gguf_f32/model.gguf";
  options.adapter = folder.path();
  options.compute = ComputeType::kF32;
  return Model::load(options);
}

float by_remainder(int64_t id) { return static_cast<float>(id % 11); }

std::shared_ptr<const Model> chosen_model() { return model_with(by_remainder); }

std::vector<float> after(Session& session, std::span<const int32_t> ids, size_t piece) {
  for (size_t begin = 0; begin < ids.size(); begin += piece)
    session.feed(ids.subspan(begin, std::min(piece, ids.size() - begin)));
  return probe(session);
}

// At ratio 4 a stride of 8 gets two echoes: one evenly, after its last token, one after the worthiest other.
TEST(ChosenEcho, FollowsTheTokensOfGreatestWorth) {
  Session session(chosen_model(), {});
  const std::vector<int32_t> ids = random_ids(61);
  session.feed(ids);
  const auto spans = session.memory().beacon_spans();
  ASSERT_EQ(spans.size(), 12U);  // six strides are closed
  for (int64_t i = 0; i < 6; ++i) {
    const auto begin = ids.begin() + i * kStride;
    const auto best = std::max_element(
        begin, begin + kStride - 1, [](int32_t a, int32_t b) { return by_remainder(a) < by_remainder(b); });
    const int64_t first = i * kStride, chosen = best - ids.begin();
    EXPECT_EQ(spans[static_cast<size_t>(2 * i)], std::pair(first, chosen + 1));
    EXPECT_EQ(spans[static_cast<size_t>(2 * i + 1)], std::pair(chosen + 1, first + kStride));
  }
}

TEST(ChosenEcho, WorthChangesWhatIsRemembered) {
  const std::vector<int32_t> ids = random_ids(61);
  Session a(chosen_model(), {}), b(model_with([](int64_t id) { return -by_remainder(id); }), {});
  const std::vector<float> first = after(a, ids, 61), second = after(b, ids, 61);
  float largest = 0;
  for (size_t i = 0; i < first.size(); ++i) largest = std::max(largest, std::abs(first[i] - second[i]));
  EXPECT_GT(largest, 0.01F);
}

TEST(ChosenEcho, ManyFeedsEqualOne) {
  const auto model = chosen_model();
  const std::vector<int32_t> ids = random_ids(101);
  Session whole(model, {});
  const std::vector<float> expected = after(whole, ids, 101);
  for (const size_t piece : {1, 3, 13}) {
    SCOPED_TRACE(piece);
    Session session(model, {});
    expect_near(after(session, ids, piece), expected);
    EXPECT_EQ(session.memory().beacon_spans(), whole.memory().beacon_spans());
  }
}

TEST(ChosenEcho, SavedLoadedAndRewoundInTheMiddleOfAStride) {
  const auto model = chosen_model();
  const std::vector<int32_t> ids = random_ids(70);
  Session whole(model, {});
  const std::vector<float> expected = after(whole, ids, 70);
  const auto start = std::span(ids).first(43), rest = std::span(ids).subspan(43);

  Session session(model, {});
  session.feed(start);
  const TemporaryFile file("m.beacon");
  session.save(file.path());
  Session loaded(model, {});
  loaded.load(file.path());
  expect_near(after(loaded, rest, 27), expected);

  const auto mark = session.mark();
  session.feed(random_ids(30, 5));
  session.rewind(*mark);
  expect_near(after(session, rest, 9), expected);
}

TEST(ChosenEcho, SessionsTogetherAreAsAlone) {
  const auto model = chosen_model();
  GenerateOptions greedy;
  greedy.max_new_tokens = 30;
  greedy.ignore_eos = true;
  greedy.sampling.temperature = 0;
  std::vector<std::vector<int32_t>> alone;
  std::vector<Session> sessions;
  Batch batch(model);
  for (const size_t length : {21, 40}) {
    Session session(model, {});
    session.feed(random_ids(length));
    sessions.push_back(session.clone());
    alone.push_back(session.generate(greedy).ids);
  }
  for (Session& session : sessions) batch.add(session, greedy);
  while (batch.size() > 0) {
    for (const BatchAnswer& answer : batch.step())
      EXPECT_EQ(answer.result.ids, alone[static_cast<size_t>(answer.session - sessions.data())]);
  }
}

TEST(ChosenEcho, AJoinedMemoryReadsOn) {
  const auto model = chosen_model();
  Session first(model, {}), second(model, {});
  first.feed(random_ids(37));
  second.feed(random_ids(45, 2));
  const Memory& a = first.memory();
  const Memory& b = second.memory();
  Session session(model, {});
  session.set_memory(Memory::join({&a, &b}));
  const size_t before = session.memory().beacon_spans().size();
  session.feed(random_ids(16, 3));
  EXPECT_EQ(session.memory().beacon_spans().size(), before + 4);
  for (const float p : probe(session)) EXPECT_TRUE(std::isfinite(p));
}

// Where the echoes of an open stride will stand depends on its tokens: a file without them is refused when it
// is read.
TEST(ChosenEcho, AFileWithoutTheTokensOfItsOpenStrideIsRefused) {
  const auto model = chosen_model();
  Session session(model, {});
  session.feed(random_ids(37));  // five of them in a stride that is not complete
  const TemporaryFile saved("saved"), crafted("crafted");
  session.memory().save(saved.path());
  const auto file = MemoryFile::open(saved.path());
  for (const size_t kept : {5, 4}) {
    MemoryFileWriter writer;
    for (const TensorView& block : file->blocks()) {
      const bool recent = block.name == "session.recent";
      const size_t bytes = recent ? kept * sizeof(int32_t) : block.bytes.size();
      writer.add_block(block.name, block.dtype,
                       recent ? std::vector<int64_t>{static_cast<int64_t>(kept)} : block.shape,
                       block.bytes.last(bytes));
    }
    writer.write_file(crafted.path(), file->manifest());
    if (kept == 5) {
      Session read(model, {});
      read.load(crafted.path());
      read.feed(random_ids(9, 3));
    } else {
      EXPECT_EQ(code_of([&] { Session(model, {}).load(crafted.path()); }), ErrorCode::kBadFile);
    }
  }
}

TEST(ChosenEcho, NeedsTheWorthOfTokens) {
  SessionOptions options = small_windows();
  options.beacons.attention = "chosen-echo";
  try {
    const Session session(tiny_model(), options);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find(kTokenWorth), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace beacon
