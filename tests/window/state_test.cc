#include "window/state.h"

#include <beacon/error.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "plan_view.h"
#include "window/planner.h"

namespace beacon {
namespace {

WindowOptions rolling() {
  WindowOptions o;
  o.window = 6;
  o.stride = 4;
  o.ratio.ratios = {1, 2, 4};
  o.sink = 1;
  return o;
}

PlannerState state_after(const WindowOptions& options, int64_t tokens) {
  Planner planner(options);
  planner.advance(tokens);
  return planner.state();
}

TEST(State, BytesRoundTrip) {
  for (int64_t n = 0; n < 40; ++n) {
    const PlannerState state = state_after(rolling(), n);
    const auto bytes = to_bytes(state);
    EXPECT_EQ(planner_state_from_bytes(bytes.data(), bytes.size()), state);
  }
}

TEST(State, TruncatedOrLongerBytesAreRefused) {
  auto bytes = to_bytes(state_after(rolling(), 21));
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_THROW(planner_state_from_bytes(bytes.data(), size), Error) << size;
  bytes.push_back(0);
  EXPECT_THROW(planner_state_from_bytes(bytes.data(), bytes.size()), Error);
}

// Whatever is accepted must run on: every position and index in range (PlanRecorder checks, sanitizers
// check).
TEST(State, CorruptedBytesAreRefusedOrHarmless) {
  std::mt19937 random(3);
  const auto good = to_bytes(state_after(rolling(), 21));
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    auto bytes = good;
    for (int flips = 1 + round % 3; flips > 0; --flips)
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random());
    try {
      const PlannerState state = planner_state_from_bytes(bytes.data(), bytes.size());
      Planner planner(rolling(), state);
      planner.discard_pending();
      planner.feed(20);
      while (const auto step = planner.next())
        ASSERT_GE(step->num_rows(), step->token_end - step->token_begin);
    } catch (const Error& e) {
      EXPECT_NE(e.code(), ErrorCode::kInternal) << e.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 15000);
}

TEST(State, ContradictionsAreRefused) {
  const PlannerState good = state_after(rolling(), 21);
  EXPECT_NO_THROW(check_state(good, rolling()));
  const std::vector<std::function<void(PlannerState&)>> spoils = {
      [](auto& s) { s.planned = s.fed + 1; },
      [](auto& s) { s.planned = -1; },
      [](auto& s) { s.window_start += 1; },
      [](auto& s) { s.sink_rows = -1; },
      [](auto& s) { s.beacon_rows = 1000; },
      [](auto& s) { s.sink_saved = false; },
      [](auto& s) { s.open.erase(s.open.begin()); },
      [](auto& s) { s.open[0].kind = SlotKind::kBeacon; },
      [](auto& s) { s.open[0].token = 3; },
      [](auto& s) { s.open[0].kind = SlotKind::kReplica; },
      [](auto& s) { s.ratios.clear(); },
      [](auto& s) { s.ratios[0] = 5; },
      [](auto& s) { s.ratios.push_back(2); },
      [](auto& s) { s.count = 100; },
      [](auto& s) { s.next_block += 4; },
      [](auto& s) { s.chosen = 77; },
      [](auto& s) { s.fed = kMaxSequence + 1; },
      [](auto& s) { s.draws = -1; },
  };
  for (size_t i = 0; i < spoils.size(); ++i) {
    PlannerState bad = good;
    spoils[i](bad);
    EXPECT_THROW(Planner(rolling(), bad), Error) << "contradiction " << i;
  }
  WindowOptions append = rolling();
  append.placement = Placement::kAppend;
  EXPECT_THROW(Planner(append, good), Error);
}

// Joining: what follows a document put behind others is what follows it alone, with other memory in front.
TEST(State, ShiftedGoesOnAsBefore) {
  const PlannerState alone = state_after(rolling(), 21);
  const PlannerState behind = shifted(alone, 1000, 3, 400);
  Planner a(rolling(), alone);
  Planner b(rolling(), behind);
  a.feed(30);
  b.feed(30);
  for (auto step = a.next(); step; step = a.next()) {
    const auto other = b.next();
    ASSERT_TRUE(other);
    EXPECT_EQ(other->token_begin, step->token_begin + 1000);
    EXPECT_EQ(other->slots, step->slots);
    EXPECT_EQ(other->close.beacons, step->close.beacons);
    EXPECT_EQ(other->close.keep, step->close.keep);
    EXPECT_EQ(other->positions[0], step->positions[0] + (3 + 400) - (alone.sink_rows + alone.beacon_rows));
    ASSERT_EQ(other->close.windows.size(), step->close.windows.size());
  }
  EXPECT_FALSE(b.next());
}

TEST(State, WithoutOpenWindowReadingStartsAFreshWindow) {
  const PlannerState state = without_open_window(state_after(rolling(), 21), 1, 5);
  Planner planner(rolling(), state);
  planner.feed(6);
  const auto step = planner.next();
  ASSERT_TRUE(step);
  EXPECT_EQ(step->token_begin, 21);
  EXPECT_EQ(step->cached_rows, 0);
  EXPECT_EQ(step->positions[0], 6);
  EXPECT_TRUE(step->close.closes);
  EXPECT_TRUE(step->close.sink.empty());
}

}  // namespace
}  // namespace beacon
