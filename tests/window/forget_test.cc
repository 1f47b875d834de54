// Windows without beacons: what a close lets go is gone.
#include <beacon/error.h>
#include <gmock/gmock.h>

#include "plan_view.h"
#include "window/planner.h"

namespace beacon {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::RowId;

WindowOptions forgetting(int64_t window, int64_t stride, int64_t sink) {
  WindowOptions o;
  o.window = window;
  o.stride = stride;
  o.sink = sink;
  o.forget = true;
  return o;
}

RowId raw(int64_t token) { return {false, token}; }

TEST(Forget, KeepsSinkAndTailAndRenumbers) {
  Planner planner(forgetting(6, 4, 1));
  testing::PlanRecorder recorder;
  planner.feed(10);
  const Step first = *planner.next();
  EXPECT_EQ(first.num_rows(), 6);
  EXPECT_THAT(first.close.sink, ElementsAre(0));
  EXPECT_THAT(first.close.keep, ElementsAre(4, 5));
  recorder.apply(first);
  const Step second = *planner.next();
  EXPECT_THAT(second.positions, ElementsAre(3, 4, 5, 6));  // behind x0 x4 x5
  EXPECT_TRUE(second.causal);
  recorder.apply(second);
  EXPECT_THAT(recorder.memory().sink, ElementsAre(raw(0)));
  EXPECT_THAT(recorder.memory().beacons, IsEmpty());
  EXPECT_THAT(recorder.memory().open, ElementsAre(raw(8), raw(9)));
  EXPECT_THAT(recorder.windows(),
              ElementsAre(WindowRecord{{0, 4}, kForgotten, 0}, WindowRecord{{4, 8}, kForgotten, 0}));
  EXPECT_FALSE(planner.next());
}

TEST(Forget, WithoutTailAndSinkEveryWindowStartsEmpty) {
  Planner planner(forgetting(4, 4, 0));
  planner.feed(9);
  for (int i = 0; i < 2; ++i) {
    const Step step = *planner.next();
    EXPECT_EQ(step.memory_rows(), 0);
    EXPECT_THAT(step.positions, ElementsAre(0, 1, 2, 3));
  }
  EXPECT_THAT(planner.next()->positions, ElementsAre(0));
}

TEST(Forget, EveryFeedingGivesTheSameRows) {
  constexpr int64_t kTokens = 23;
  const auto rows_of = [](int64_t piece) {
    Planner planner(forgetting(7, 3, 2));
    testing::PlanRecorder recorder;
    std::vector<testing::RowView> rows;
    for (int64_t fed = 0; fed < kTokens; fed += piece) {
      planner.feed(std::min(piece, kTokens - fed));
      while (const auto step = planner.next())
        for (auto& row : recorder.apply(*step)) rows.push_back(std::move(row));
    }
    return rows;
  };
  const auto whole = rows_of(kTokens);
  EXPECT_EQ(whole.size(), static_cast<size_t>(kTokens));  // no beacon anywhere
  for (const int64_t piece : {1, 2, 5, 7}) EXPECT_EQ(rows_of(piece), whole);
}

TEST(Forget, RatiosHaveNoMeaning) {
  WindowOptions o = forgetting(8, 4, 0);
  o.ratio.ratios = {3, 5};  // no divisor among them: refused with beacons
  EXPECT_NO_THROW(validate(o));
  o.parallel_windows = 2;
  o.stride = 8;
  EXPECT_THROW(validate(o), Error);
  o.parallel_windows = 1;
  o.skip_first = 2;
  EXPECT_THROW(validate(o), Error);
}

TEST(Forget, SavedStateGoesOn) {
  const WindowOptions o = forgetting(6, 4, 1);
  Planner planner(o);
  planner.advance(9);
  const auto bytes = to_bytes(planner.state());
  Planner again(o, planner_state_from_bytes(bytes.data(), bytes.size()));
  EXPECT_EQ(again.forecast(30).positions, planner.forecast(30).positions);
  EXPECT_EQ(planner.forecast(30).positions, 7);  // the sink and a whole window
}

}  // namespace
}  // namespace beacon
