// Joining and cutting memories.
#include <beacon/session.h>
#include <gtest/gtest.h>

#include "session_fixture.h"

namespace beacon {
namespace {

using testing::probe;
using testing::random_ids;
using testing::small_windows;
using testing::TemporaryFile;
using testing::tiny_model;

Session read(const std::shared_ptr<const Model>& model, size_t tokens, unsigned seed, int64_t stride = 8) {
  Session session(model, small_windows(stride, 1));
  session.feed(random_ids(tokens, seed));
  return session;
}

TEST(Join, OfOneIsTheSame) {
  const auto model = tiny_model();
  Session session = read(model, 75, 1);
  Session joined(model, small_windows());
  joined.set_memory(Memory::join({&session.memory()}));
  EXPECT_EQ(joined.memory().beacon_spans(), session.memory().beacon_spans());
  const std::vector<float> a = probe(session), b = probe(joined);
  // Except the very first score: a joined memory forgets the hidden state that would predict it.
  for (size_t i = 1; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-4F) << i;
}

TEST(Join, KeepsOrderCountsAndSpans) {
  const auto model = tiny_model();
  Session a = read(model, 50, 1), b = read(model, 70, 2);
  const Memory joined = Memory::join({&a.memory(), &b.memory()});
  const Ledger la = a.ledger(), lb = b.ledger(), lj = joined.ledger();
  EXPECT_EQ(lj.tokens_read, 120);
  EXPECT_EQ(lj.sink_rows, la.sink_rows);
  EXPECT_EQ(lj.beacon_rows, la.beacon_rows + la.raw_rows + lb.beacon_rows);
  EXPECT_EQ(lj.raw_rows, lb.raw_rows);
  const auto spans = joined.beacon_spans();
  ASSERT_EQ(spans.size(), static_cast<size_t>(lj.beacon_rows));
  for (size_t i = 1; i < spans.size(); ++i) EXPECT_LE(spans[i - 1].second, spans[i].second);
  EXPECT_LE(spans.back().second, 120);
  EXPECT_NE(joined.source_hash(), a.memory().source_hash());

  // Both documents matter, and so does their order.
  const auto score = [&](const Memory& memory) {
    Session session(model, small_windows());
    session.set_memory(memory.clone());
    return probe(session);
  };
  const auto in_order = score(joined), reversed = score(Memory::join({&b.memory(), &a.memory()})),
             alone = score(b.memory());
  EXPECT_GT(std::abs(in_order[5] - reversed[5]), 1e-3F);
  EXPECT_GT(std::abs(in_order[5] - alone[5]), 1e-3F);
}

TEST(Join, GoesOnReadingAndSurvivesAFile) {
  const auto model = tiny_model();
  Session a = read(model, 50, 1), b = read(model, 70, 2);
  Session joined(model, small_windows());
  joined.set_memory(Memory::join({&a.memory(), &b.memory()}));
  joined.feed(random_ids(40, 3));
  const TemporaryFile file("joined.beacon");
  joined.save(file.path());
  Session loaded(model, small_windows());
  loaded.load(file.path());
  EXPECT_EQ(probe(loaded), probe(joined));
  EXPECT_EQ(loaded.ledger().tokens_read, 160 + 12);  // the probe was read too
}

TEST(Join, RefusesTooMuchAndStrangers) {
  const auto model = tiny_model();
  Session a = read(model, 50, 1);
  Session other = read(tiny_model(), 50, 1);
  EXPECT_THROW(Memory::join({}), Error);
  EXPECT_THROW(Memory::join({&a.memory(), &other.memory()}), Error);
  const auto many =
      static_cast<size_t>(model->info().max_positions / (a.ledger().positions - a.ledger().sink_rows) + 2);
  const std::vector<const Memory*> parts(many, &a.memory());
  EXPECT_THROW(Memory::join(parts), Error);
  EXPECT_NO_THROW(Memory::join(parts, /*beyond_positions=*/true));
}

TEST(Cut, KeepsTheBlocksThatTouchTheRange) {
  const auto model = tiny_model();
  Session session = read(model, 16 * 6 + 4, 1, /*stride=*/16);
  const Memory cut = session.memory().cut(20, 40);
  const Ledger ledger = cut.ledger();
  EXPECT_EQ(ledger.beacon_rows, 2 * 4);  // windows [16, 32) and [32, 48)
  EXPECT_EQ(ledger.raw_rows, 0);
  EXPECT_EQ(ledger.sink_rows, 1);
  EXPECT_EQ(cut.beacon_spans().front().first, 16);
  EXPECT_EQ(cut.beacon_spans().back().second, 48);
  const Memory tail = session.memory().cut(90, 1000);
  EXPECT_EQ(tail.ledger().raw_rows, session.ledger().raw_rows);
  EXPECT_THROW(session.memory().cut(5, 5), Error);
  EXPECT_THROW(session.memory().cut(1000, 1001), Error);
}

TEST(Cut, OfEverythingIsTheSame) {
  const auto model = tiny_model();
  Session session = read(model, 75, 1);
  Session whole(model, small_windows());
  whole.set_memory(session.memory().cut(0, 75));
  const std::vector<float> a = probe(session), b = probe(whole);
  for (size_t i = 1; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-4F) << i;
}

}  // namespace
}  // namespace beacon
