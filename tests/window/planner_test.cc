// The worked examples of docs/algorithm.md, and what a caller may do between steps.
#include "window/planner.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

#include <sstream>
#include <string>

#include "plan_view.h"

namespace beacon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

WindowOptions sizes(int64_t window, int64_t stride, int ratio, int64_t sink = 0) {
  WindowOptions o;
  o.window = window;
  o.stride = stride;
  o.ratio.ratios = {ratio};
  o.sink = sink;
  return o;
}

std::vector<Step> steps_of(Planner& planner, int64_t feed) {
  planner.feed(feed);
  std::vector<Step> steps;
  while (auto step = planner.next()) steps.push_back(std::move(*step));
  return steps;
}

// "x0 x1 b": r = replica.
std::string slots(const Step& step) {
  std::ostringstream out;
  int64_t token = step.token_begin;
  for (const SlotKind slot : step.slots) {
    out << (out.tellp() > 0 ? " " : "");
    if (slot == SlotKind::kRaw)
      out << "x" << token++;
    else
      out << (slot == SlotKind::kBeacon ? "b" : "r");
  }
  return out.str();
}

std::string memory(const testing::PlanRecorder& recorder) {
  std::ostringstream out;
  testing::MemoryView view = recorder.memory();
  view.beacon_spans.clear();
  out << view;
  return out.str();
}

std::string row_of_mask(const Step& step, int64_t row) {
  const int64_t width = step.memory_rows() + step.num_rows();
  std::string out;
  for (int64_t k = 0; k < width; ++k) out += step.mask[static_cast<size_t>(row * width + k)] != 0 ? '1' : '.';
  return out;
}

TEST(Example, InterleaveWindow8Ratio4) {
  Planner planner(sizes(8, 8, 4));
  const auto steps = steps_of(planner, 11);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(slots(steps[0]), "x0 x1 x2 x3 b x4 x5 x6 x7 b");
  EXPECT_THAT(steps[0].positions, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_TRUE(steps[0].causal);
  EXPECT_THAT(steps[0].close.beacons, ElementsAre(4, 9));
  EXPECT_THAT(steps[0].close.beacon_spans, ElementsAre(Span{0, 4}, Span{4, 8}));
  EXPECT_THAT(steps[0].close.keep, IsEmpty());
  EXPECT_EQ(slots(steps[1]), "x8 x9 x10");
  EXPECT_EQ(steps[1].beacon_rows, 2);
  EXPECT_THAT(steps[1].positions, ElementsAre(2, 3, 4));
  // Fed as 3 + 1 + 4 tokens the layout is the same.
  Planner chunked(sizes(8, 8, 4));
  EXPECT_EQ(slots(steps_of(chunked, 3).at(0)), "x0 x1 x2");
  EXPECT_EQ(slots(steps_of(chunked, 1).at(0)), "x3 b");
  EXPECT_EQ(slots(steps_of(chunked, 4).at(0)), "x4 x5 x6 x7 b");
}

TEST(Example, RollingWindow6Stride4Ratio2Sink1) {
  Planner planner(sizes(6, 4, 2, 1));
  testing::PlanRecorder recorder;
  auto steps = steps_of(planner, 6);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(slots(steps[0]), "x0 x1 b x2 x3 b x4 x5 b");
  EXPECT_THAT(steps[0].close.sink, ElementsAre(0));
  EXPECT_THAT(steps[0].close.beacons, ElementsAre(2, 5));
  EXPECT_THAT(steps[0].close.keep, ElementsAre(6, 7, 8));
  recorder.apply(steps[0]);
  EXPECT_EQ(memory(recorder), "[ x0 ][ b0 b1 ][ x4 x5 b2 ]");
  steps = steps_of(planner, 4);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(slots(steps[0]), "x6 x7 b x8 x9 b");
  EXPECT_THAT(steps[0].positions, ElementsAre(6, 7, 8, 9, 10, 11));
  recorder.apply(steps[0]);
  EXPECT_EQ(memory(recorder), "[ x0 ][ b0 b1 b2 b3 ][ x8 x9 b4 ]");
  ASSERT_EQ(recorder.windows().size(), 2u);
  EXPECT_EQ(recorder.windows()[1], (WindowRecord{{4, 8}, 2, 2}));
}

TEST(Example, AppendedStepExpansion) {
  WindowOptions o = sizes(4, 4, 2);
  o.placement = Placement::kAppend;
  o.attention = BeaconAttention::kStepExpansion;
  Planner planner(o);
  const Step step = steps_of(planner, 4).at(0);
  EXPECT_EQ(slots(step), "x0 x1 x2 x3 b b");
  EXPECT_THAT(step.positions, ElementsAre(0, 1, 2, 3, 2, 5));
  EXPECT_EQ(row_of_mask(step, 4), "11..1.");
  EXPECT_EQ(row_of_mask(step, 5), "111111");
  o.attend_prev = false;
  Planner blind(o);
  const Step other = steps_of(blind, 4).at(0);
  EXPECT_THAT(other.positions, ElementsAre(0, 1, 2, 3, 2, 4));
  EXPECT_EQ(row_of_mask(other, 5), "1111.1");
}

TEST(Example, AppendKeepsARawTail) {
  WindowOptions o = sizes(6, 4, 2, 1);
  o.placement = Placement::kAppend;
  Planner planner(o);
  testing::PlanRecorder recorder;
  for (const Step& step : steps_of(planner, 10)) recorder.apply(step);
  EXPECT_EQ(memory(recorder), "[ x0 ][ b0 b1 b2 b3 ][ x8 x9 ]");
}

TEST(Example, InterleavedStepExpansionSharesPositions) {
  WindowOptions o = sizes(4, 4, 2);
  o.attention = BeaconAttention::kStepExpansion;
  o.attend_prev = false;
  Planner planner(o);
  const Step step = steps_of(planner, 3).at(0);
  EXPECT_EQ(slots(step), "x0 x1 b x2");
  EXPECT_THAT(step.positions, ElementsAre(0, 1, 2, 2));
  EXPECT_EQ(row_of_mask(step, 2), "111.");
  EXPECT_EQ(row_of_mask(step, 3), "11.1");
  const Step next = steps_of(planner, 1).at(0);
  EXPECT_EQ(slots(next), "x3 b");
  EXPECT_THAT(next.cached_positions, ElementsAre(0, 1, 2, 2));
  EXPECT_THAT(next.positions, ElementsAre(3, 4));
}

TEST(Example, EchoesStandWithTheTokenTheyFollow) {
  WindowOptions o = sizes(6, 4, 2, 1);
  o.attention = BeaconAttention::kEcho;
  Planner planner(o);
  const Step step = steps_of(planner, 6).at(0);
  EXPECT_EQ(slots(step), "x0 x1 b x2 x3 b x4 x5 b");
  EXPECT_THAT(step.positions, ElementsAre(0, 1, 1, 2, 3, 3, 4, 5, 5));
  EXPECT_EQ(row_of_mask(step, 5), "11.111...");
  EXPECT_EQ(row_of_mask(step, 6), "11.11.1..");
  // The memory is then [x0][b0 b1][x4 x5 b2], whose last row shares the position of x5.
  EXPECT_THAT(step.close.keep_positions, ElementsAre(3, 4, 4));
  const Step next = steps_of(planner, 2).at(0);
  EXPECT_EQ(slots(next), "x6 x7 b");
  EXPECT_THAT(next.cached_positions, ElementsAre(3, 4, 4));
  EXPECT_THAT(next.positions, ElementsAre(5, 6, 6));
  EXPECT_EQ(row_of_mask(next, 0), "11111.1..");
}

TEST(Example, ChosenEchoesStandBehindTheirStride) {
  WindowOptions o = sizes(6, 4, 2, 1);
  o.attention = BeaconAttention::kChosenEcho;
  Planner planner(o);
  planner.feed(3);
  const std::vector<float> worth = {0.1F, 0.9F, 0.2F, 0.8F, 0.3F, 0.3F};
  EXPECT_EQ(slots(*planner.next({0, worth})), "x0 x1 x2");
  EXPECT_EQ(planner.stride_begin(), 0);
  planner.feed(3);
  // One of the two evenly: after x3. The other where the worth is.
  const Step step = *planner.next({0, worth});
  EXPECT_EQ(slots(step), "x3 b b x4 x5");
  EXPECT_THAT(step.echo_of, ElementsAre(-1, 1, 3, -1, -1));
  EXPECT_THAT(step.positions, ElementsAre(3, 1, 3, 4, 5));
  EXPECT_EQ(row_of_mask(step, 1), "11..1...");
  EXPECT_EQ(row_of_mask(step, 2), "1111.1..");
  EXPECT_EQ(row_of_mask(step, 4), "1111..11");
  EXPECT_THAT(step.close.beacon_spans, ElementsAre(Span{0, 2}, Span{2, 4}));
  EXPECT_EQ(planner.stride_begin(), 4);
}

TEST(Example, ParallelWindows) {
  WindowOptions o = sizes(2, 2, 2, 1);
  o.parallel_windows = 2;
  Planner planner(o);
  const Step step = steps_of(planner, 4).at(0);
  EXPECT_EQ(slots(step), "x0 x1 b r x2 x3 b");
  EXPECT_THAT(step.positions, ElementsAre(0, 1, 2, 1, 2, 3, 4));
  EXPECT_THAT(step.copy_from, ElementsAre(-1, -1, -1, 2, -1, -1, -1));
  EXPECT_EQ(row_of_mask(step, 4), "1..11..");
  EXPECT_THAT(step.close.sink, ElementsAre(0));
  EXPECT_THAT(step.close.beacons, ElementsAre(2, 6));
  EXPECT_EQ(step.close.windows.size(), 2u);
}

// Where the sink would stand elsewhere in memory than in its window (a beacon among its tokens), it is
// replicated too.
TEST(Example, ParallelWindowsReplicateADisplacedSink) {
  WindowOptions o = sizes(2, 2, 1, 2);
  o.parallel_windows = 2;
  Planner planner(o);
  const Step step = steps_of(planner, 4).at(0);
  EXPECT_EQ(slots(step), "x0 b x1 b r r r r x2 b x3 b");
  EXPECT_THAT(step.copy_from, ElementsAre(-1, -1, -1, -1, 0, 2, 1, 3, -1, -1, -1, -1));
  EXPECT_EQ(row_of_mask(step, 8), "....11111...");
}

TEST(Example, RatioZeroKeepsTheWindowAndDoesNotRepeatTheSink) {
  Planner planner(sizes(4, 4, 0, 1));
  testing::PlanRecorder recorder;
  for (const Step& step : steps_of(planner, 9)) recorder.apply(step);
  EXPECT_EQ(memory(recorder), "[ x0 ][ x1 x2 x3 x4 x5 x6 x7 ][ x8 ]");
}

TEST(Example, SkipKeepsBeginningAndEndRaw) {
  WindowOptions o = sizes(4, 4, 2);
  o.skip_first = 3;
  o.skip_last = 7;
  Planner planner(o);
  testing::PlanRecorder recorder;
  for (const Step& step : steps_of(planner, 12)) recorder.apply(step);
  EXPECT_EQ(memory(recorder), "[ x0 x1 x2 ][ b0 b1 ][ x7 x8 x9 x10 x11 ]");
}

TEST(Planner, ACopyIsAMarkToRewindTo) {
  Planner planner(sizes(6, 4, 2, 1));
  steps_of(planner, 5);
  const Planner mark = planner;
  const auto first = steps_of(planner, 9);
  Planner again = mark;
  const auto second = steps_of(again, 9);
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(slots(first[i]), slots(second[i]));
  EXPECT_EQ(planner.state(), again.state());
}

TEST(Planner, FreezeStopsBeaconsAndCloses) {
  for (const Placement placement : {Placement::kInterleave, Placement::kAppend}) {
    WindowOptions o = sizes(4, 4, 2);
    o.placement = placement;
    Planner planner(o);
    steps_of(planner, 6);
    const int64_t open = planner.open_rows();
    const int64_t beacons = planner.state().beacon_rows;
    planner.freeze();
    for (const Step& step : steps_of(planner, 20)) {
      EXPECT_FALSE(step.close.closes);
      EXPECT_LE(step.num_rows(), o.window);
      EXPECT_EQ(step.num_rows(), step.token_end - step.token_begin);
    }
    EXPECT_EQ(planner.open_rows(), open + 20);
    EXPECT_EQ(planner.state().beacon_rows, beacons);
  }
}

TEST(Planner, DiscardedTokensCanBeFedAgain) {
  Planner planner(sizes(4, 4, 2));
  planner.feed(10);
  ASSERT_TRUE(planner.next());
  EXPECT_EQ(planner.tokens_pending(), 6);
  planner.discard_pending();
  EXPECT_FALSE(planner.next());
  Planner other(sizes(4, 4, 2));
  steps_of(other, 4);
  EXPECT_EQ(planner.state(), other.state());
}

TEST(Planner, WithBeaconsOffEverythingStaysRaw) {
  WindowOptions o = sizes(4, 4, 2, 1);
  o.enabled = false;
  Planner planner(o);
  int32_t position = 0;
  for (const Step& step : steps_of(planner, 19)) {
    EXPECT_TRUE(step.causal);
    EXPECT_FALSE(step.close.closes);
    for (int32_t p : step.positions) EXPECT_EQ(p, position++);
  }
  EXPECT_EQ(planner.open_rows(), 19);
}

TEST(Planner, RefusesWhatItCannotFeed) {
  Planner planner(sizes(4, 4, 2));
  EXPECT_THROW(planner.feed(-1), Error);
  EXPECT_THROW(planner.feed(kMaxSequence + 1), Error);
  EXPECT_THROW(planner.forecast(-1), Error);
  planner.feed(0);
  EXPECT_FALSE(planner.next());
  WindowOptions o = sizes(4, 4, 2);
  o.training = true;
  Planner training(o);
  training.feed(9);
  EXPECT_THROW(training.feed(1), Error);
  EXPECT_THROW(Planner(sizes(4, 5, 2)), Error);
}

}  // namespace
}  // namespace beacon
