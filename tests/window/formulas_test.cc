// Closed formulas for plans of realistic size, fed in random pieces (study 7.4).
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/checked.h"
#include "plan_view.h"
#include "window/capacity.h"
#include "window/planner.h"

namespace beacon {
namespace {

struct Size {
  int64_t window, stride;
  int ratio;
  int64_t sink;
};

WindowOptions options_of(const Size& size) {
  WindowOptions o;
  o.window = size.window;
  o.stride = size.stride;
  o.ratio.ratios = {size.ratio};
  o.sink = size.sink;
  return o;
}

const std::vector<Size> kSizes = {{64, 64, 8, 0}, {64, 64, 8, 1},  {64, 32, 8, 1},
                                  {64, 24, 8, 4}, {48, 48, 7, 2},  {100, 40, 3, 1},
                                  {96, 1, 1, 1},  {64, 63, 62, 5}, {33, 32, 1, 0}};

int64_t closes(const WindowOptions& o, int64_t n) { return n < o.window ? 0 : (n - o.window) / o.stride + 1; }

// sink + floor(tokens let go / ratio) beacons + the raw tail with the beacons due in it.
TEST(Formulas, MemoryLengthOfInterleave) {
  std::mt19937 random(7);
  for (const Size& size : kSizes) {
    const WindowOptions o = options_of(size);
    Planner planner(o);
    int64_t n = 0;
    for (int feed = 0; feed < 60; ++feed) {
      const int64_t piece = std::uniform_int_distribution<int64_t>(1, 2 * o.window)(random);
      planner.feed(piece);
      n += piece;
      while (planner.next()) {
      }
      const int64_t gone = closes(o, n) * o.stride;
      EXPECT_EQ(planner.state().sink_rows, gone > 0 ? o.sink : 0);
      EXPECT_EQ(planner.state().beacon_rows, gone / size.ratio)
          << o.window << " " << o.stride << " after " << n;
      EXPECT_EQ(planner.open_rows(), n - gone + n / size.ratio - gone / size.ratio);
    }
  }
}

TEST(Formulas, MemoryLengthOfAppendAndRatioZero) {
  for (const Size& size : kSizes) {
    WindowOptions o = options_of(size);
    o.placement = Placement::kAppend;
    for (const int ratio : {size.ratio, 0}) {
      o.ratio.ratios = {ratio};
      Planner planner(o);
      const int64_t n = 7 * o.window + 5;
      planner.feed(n);
      while (planner.next()) {
      }
      const int64_t closed = closes(o, n);
      EXPECT_EQ(planner.state().beacon_rows,
                ratio == 0 ? closed * o.stride - o.sink : closed * (o.stride / ratio));
      EXPECT_EQ(planner.open_rows(), n - closed * o.stride);
    }
  }
}

// Rows at positions 0 .. m + (raw and beacons of the open window) - 1, each once; never beyond sink + beacons
// + W + k.
TEST(Formulas, PositionsOfInterleaveRunOnWithoutGaps) {
  for (const Size& size : kSizes) {
    const WindowOptions o = options_of(size);
    Planner planner(o);
    planner.feed(9 * o.window + 3);
    while (const auto step = planner.next()) {
      ASSERT_TRUE(step->causal);
      ASSERT_TRUE(step->cached_positions.empty());
      for (int64_t i = 0; i < step->num_rows(); ++i)
        ASSERT_EQ(step->positions[static_cast<size_t>(i)], step->memory_rows() + i);
      const int64_t most =
          step->sink_rows + step->beacon_rows + o.window + ceil_div(o.window, size.ratio) - 1;
      ASSERT_LE(step->positions.back(), most);
    }
  }
}

// Spans of the beacons of one ratio tile the text from its first token on.
TEST(Formulas, BeaconSpansTileTheText) {
  for (const Size& size : kSizes)
    for (const Placement placement : {Placement::kInterleave, Placement::kAppend}) {
      WindowOptions o = options_of(size);
      o.placement = placement;
      Planner planner(o);
      planner.feed(8 * o.window);
      testing::PlanRecorder recorder;
      while (const auto step = planner.next()) recorder.apply(*step);
      int64_t end = 0;
      for (const Span& span : recorder.memory().beacon_spans) {
        ASSERT_EQ(span.begin, end);
        ASSERT_GE(span.end - span.begin, size.ratio);
        end = span.end;
      }
      const int64_t gone = closes(o, 8 * o.window) * o.stride;
      EXPECT_EQ(end, placement == Placement::kAppend ? gone : gone - gone % size.ratio);
    }
}

TEST(Formulas, ForecastIsWhatHappens) {
  std::mt19937 random(11);
  for (const Size& size : kSizes) {
    WindowOptions o = options_of(size);
    o.ratio.ratios.push_back(1);
    if (o.stride == o.window) o.parallel_windows = 2;
    Planner planner(o);
    for (int feed = 0; feed < 20; ++feed) {
      const int64_t piece = std::uniform_int_distribution<int64_t>(1, 5 * o.window)(random);
      const Forecast forecast = planner.forecast(piece);
      planner.feed(piece);
      Forecast seen;
      while (const auto step = planner.next()) {
        for (int32_t p : step->positions) seen.positions = std::max<int64_t>(seen.positions, p + 1);
        seen.peak_rows = std::max(seen.peak_rows, step->memory_rows() + step->num_rows());
        ++seen.steps;
      }
      EXPECT_EQ(forecast.positions, seen.positions);
      EXPECT_EQ(forecast.peak_rows, seen.peak_rows);
      EXPECT_EQ(forecast.steps, seen.steps);
      EXPECT_EQ(forecast.sink_rows, planner.state().sink_rows);
      EXPECT_EQ(forecast.beacon_rows, planner.state().beacon_rows);
      EXPECT_EQ(forecast.open_rows, planner.open_rows());
    }
  }
}

}  // namespace
}  // namespace beacon
