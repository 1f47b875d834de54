// Every chunking of small sequences gives the plan of the slow twin: slots, positions, spans, memory and
// visibility.
#include <beacon/error.h>
#include <gtest/gtest.h>

#include <string>

#include "plan_view.h"
#include "slow_twin.h"
#include "window/planner.h"

namespace beacon {
namespace {

using testing::MemoryView;
using testing::PlanRecorder;
using testing::RowView;
using testing::SlowTwin;

// Of all tokens of these tests.
TokenWorth worth() {
  static const std::vector<float> values = [] {
    std::vector<float> out;
    for (int64_t t = 0; t < 32; ++t) out.push_back(testing::worth_of(t));
    return out;
  }();
  return {0, values};
}

struct Combo {
  std::string name;
  WindowOptions options;
  int64_t tokens = 12;
};

void PrintTo(const Combo& combo, std::ostream* out) { *out << combo.name; }

// The ratio of every window of `tokens` tokens fed at once, closed and open ones.
std::vector<int> ratios_drawn(const WindowOptions& options, int64_t tokens) {
  Planner planner(options);
  PlanRecorder recorder;
  planner.feed(tokens);
  while (const auto step = planner.next(worth())) recorder.apply(*step);
  std::vector<int> ratios;
  for (const WindowRecord& window : recorder.windows()) ratios.push_back(window.ratio);
  for (int32_t ratio : planner.state().ratios) ratios.push_back(ratio);
  return ratios;
}

// Walks the tree of all chunkings, sharing what chunkings with the same beginning share.
class AllChunkings {
 public:
  AllChunkings(const WindowOptions& options, int64_t tokens)
      : tokens_(tokens), twin_(options, ratios_drawn(options, tokens), tokens), options_(options) {
    for (int64_t n = 0; n <= tokens; ++n) {
      Planner at_once(options);
      at_once.feed(n);
      while (at_once.next(worth())) {
      }
      states_.push_back(at_once.state());
      memories_.push_back(twin_.memory(n));
      if (n < tokens) raws_.push_back(twin_.raw(n));
    }
    for (int64_t i = 0; i < twin_.num_beacons(tokens); ++i) beacons_.push_back(twin_.beacon(i));
  }

  // Throws std::logic_error for a step that contradicts itself.
  void walk() { walk(Planner(options_), PlanRecorder()); }

  int64_t num_chunkings() const { return num_chunkings_; }
  bool failed() const { return ::testing::Test::HasFailure(); }

 private:
  void walk(const Planner& planner, const PlanRecorder& recorder) {
    const int64_t read = recorder.num_tokens();
    num_chunkings_ += read == tokens_ ? 1 : 0;
    for (int64_t chunk = 1; read + chunk <= tokens_ && !failed(); ++chunk) {
      // Every chunk goes on from a saved state: save, load, continue = no interruption.
      const auto bytes = to_bytes(planner.state());
      Planner next(options_, planner_state_from_bytes(bytes.data(), bytes.size()));
      PlanRecorder next_recorder = recorder;
      next.feed(chunk);
      while (const auto step = next.next(worth())) {
        check_rows(next_recorder.apply(*step));
      }
      check_node(next, next_recorder, read + chunk);
      walk(next, next_recorder);
    }
  }

  void check_rows(const std::vector<RowView>& rows) {
    for (const RowView& row : rows) {
      const auto& expected = row.id.beacon ? beacons_ : raws_;
      ASSERT_LT(row.id.index, static_cast<int64_t>(expected.size())) << row;
      ASSERT_EQ(row, expected[static_cast<size_t>(row.id.index)]);
    }
  }

  void check_node(const Planner& planner, const PlanRecorder& recorder, int64_t n) {
    ASSERT_EQ(recorder.num_tokens(), n);
    ASSERT_EQ(recorder.num_beacons(), twin_.num_beacons(n)) << "after " << n;
    ASSERT_EQ(recorder.memory(), memories_[static_cast<size_t>(n)]) << "after " << n;
    ASSERT_EQ(planner.state(), states_[static_cast<size_t>(n)]) << "after " << n;
  }

  int64_t tokens_;
  SlowTwin twin_;
  WindowOptions options_;
  std::vector<RowView> raws_, beacons_;
  std::vector<MemoryView> memories_;
  std::vector<PlannerState> states_;
  int64_t num_chunkings_ = 0;
};

WindowOptions sizes(int64_t window, int64_t stride, std::vector<int> ratios, int64_t sink = 0) {
  WindowOptions o;
  o.window = window;
  o.stride = stride;
  o.ratio.ratios = std::move(ratios);
  o.sink = sink;
  return o;
}

WindowOptions append(WindowOptions o, BeaconAttention attention, bool attend_prev,
                     Generation generation = Generation::kThird) {
  o.placement = Placement::kAppend;
  o.attention = attention;
  o.attend_prev = attend_prev;
  o.generation = generation;
  return o;
}

void add_interleave(std::vector<Combo>& combos) {
  struct Size {
    int64_t window, stride;
    std::vector<int> ratios;
    int64_t sink;
  };
  const std::vector<Size> all = {
      {4, 4, {2}, 0},       {4, 4, {4}, 1},       {4, 4, {1}, 0},      {4, 4, {3}, 0}, {5, 5, {2}, 2},
      {4, 4, {0}, 2},       {1, 1, {1}, 1},       {6, 2, {2}, 1},      {6, 3, {2}, 1}, {5, 2, {1}, 2},
      {5, 3, {3}, 0},       {6, 4, {3}, 4},       {4, 2, {0}, 1},      {7, 1, {1}, 1}, {3, 2, {2}, 0},
      {5, 4, {1, 2, 4}, 1}, {4, 4, {0, 1, 2}, 1}, {6, 4, {0, 2, 4}, 2}};
  for (const Size& s : all) {
    Combo combo{"interleave_w" + std::to_string(s.window) + "s" + std::to_string(s.stride), {}, 12};
    combo.options = sizes(s.window, s.stride, s.ratios, s.sink);
    combo.name += "r" + std::to_string(s.ratios[0]) + "sink" + std::to_string(s.sink) + "of" +
                  std::to_string(s.ratios.size());
    combos.push_back(combo);
  }
  for (int ratio : {1, 2, 3, 4, 0}) {
    WindowOptions o = sizes(4, 4, {ratio}, 1);
    o.attention = BeaconAttention::kStepExpansion;
    o.attend_prev = false;
    combos.push_back({"interleave_step_r" + std::to_string(ratio), o, 12});
  }
  for (const Size& s : all) {
    WindowOptions o = sizes(s.window, s.stride, s.ratios, s.sink);
    o.attention = BeaconAttention::kEcho;
    const std::string& name = combos[static_cast<size_t>(&s - all.data())].name;
    combos.push_back({"echo_" + name, o, 12});
    o.attention = BeaconAttention::kChosenEcho;
    combos.push_back({"chosen_" + name, o, 12});
  }
  WindowOptions chosen = sizes(10, 8, {1, 2, 4}, 1);
  chosen.attention = BeaconAttention::kChosenEcho;
  combos.push_back({"chosen_w10s8", chosen, 14});
  combos.push_back({"interleave_main_14", sizes(4, 4, {2}, 1), 14});
  combos.push_back({"interleave_rolling_14", sizes(5, 3, {2}, 2), 14});
}

void add_append(std::vector<Combo>& combos) {
  using A = BeaconAttention;
  for (A attention : {A::kFullCoverage, A::kStepExpansion, A::kSegmentation})
    for (Generation generation : {Generation::kFirst, Generation::kSecond, Generation::kThird})
      for (bool prev : {false, true})
        for (auto [window, stride, ratio] :
             {std::tuple{4, 4, 2}, {6, 4, 2}, {5, 3, 1}, {4, 4, 3}, {5, 2, 0}}) {
          const bool first = generation == Generation::kFirst;
          WindowOptions o =
              append(sizes(window, stride, {ratio}, first ? 0 : 2), attention, prev, generation);
          if (first) {
            o.attend_prev = true;
            o.attend_previous_windows = prev;
          }
          combos.push_back({"append_" + std::to_string(static_cast<int>(attention)) + "_g" +
                                std::to_string(static_cast<int>(generation)) +
                                (prev ? "_prev_" : "_noprev_") + "w" + std::to_string(window) + "s" +
                                std::to_string(stride) + "r" + std::to_string(ratio),
                            o, 11});
        }
}

void add_others(std::vector<Combo>& combos) {
  WindowOptions plain;
  plain.enabled = false;
  plain.window = 4;
  combos.push_back({"plain", plain, 12});

  for (int64_t first : {0, 3, 6})
    for (int64_t windows : {0, 1, 2}) {
      WindowOptions o = sizes(3, 3, {2});
      o.skip_first = first;
      o.skip_last = first + windows * o.window;
      const std::string name = "skip_" + std::to_string(first) + "_" + std::to_string(windows);
      combos.push_back({name, o, 12});
      combos.push_back({name + "_append", append(o, BeaconAttention::kStepExpansion, true), 12});
      o.skip_last.reset();
      if (windows == 0) combos.push_back({name + "_first_only", o, 12});
    }
  for (int64_t parallel : {2, 3})
    for (int64_t sink : {0, 1, 3})
      for (int ratio : {1, 2, 3}) {
        WindowOptions o = sizes(3, 3, {ratio}, sink);
        o.parallel_windows = parallel;
        const std::string name = "parallel" + std::to_string(parallel) + "_sink" + std::to_string(sink) +
                                 "_r" + std::to_string(ratio);
        combos.push_back({name, o, 12});
        combos.push_back({name + "_append", append(o, BeaconAttention::kSegmentation, true), 12});
        o.attention = BeaconAttention::kStepExpansion;
        o.attend_prev = false;
        combos.push_back({name + "_step", o, 12});
      }
  for (auto mix :
       {RatioPolicy::Mix::kInstanceRandom, RatioPolicy::Mix::kSequence, RatioPolicy::Mix::kStepRandom}) {
    WindowOptions o = sizes(4, 2, {0, 1, 2, 2}, 1);
    o.ratio.mix = mix;
    combos.push_back({std::string("mix_") + std::to_string(static_cast<int>(mix)), o, 12});
    combos.push_back({std::string("mix_append_") + std::to_string(static_cast<int>(mix)),
                      append(o, BeaconAttention::kStepExpansion, true), 12});
  }
  WindowOptions adapt = sizes(4, 4, {1, 2, 4}, 1);
  adapt.ratio.mix = RatioPolicy::Mix::kAdapt;
  adapt.ratio.adapt_tokens = 2;
  adapt.max_positions = 9;
  adapt.expected_tokens = 11;
  combos.push_back({"mix_adapt", adapt, 12});
  WindowOptions forced = sizes(4, 2, {2, 0, 1, 2, 0, 1});
  forced.ratio.mix = RatioPolicy::Mix::kForced;
  combos.push_back({"mix_forced", forced, 12});
}

std::vector<Combo> all_combos() {
  std::vector<Combo> combos;
  add_interleave(combos);
  add_append(combos);
  add_others(combos);
  return combos;
}

class Chunking : public ::testing::TestWithParam<Combo> {};

TEST_P(Chunking, EveryChunkingGivesThePlanOfTheSlowTwin) {
  const Combo& combo = GetParam();
  AllChunkings chunkings(combo.options, combo.tokens);
  ASSERT_NO_THROW(chunkings.walk());
  ASSERT_FALSE(HasFailure());
  EXPECT_EQ(chunkings.num_chunkings(), int64_t{1} << (combo.tokens - 1));
}

INSTANTIATE_TEST_SUITE_P(Small, Chunking, ::testing::ValuesIn(all_combos()),
                         [](const auto& info) { return info.param.name; });

// Training takes one feed; the twin knows its rules, so every length is compared with it.
TEST_P(Chunking, TrainingFollowsTheSlowTwinAtEveryLength) {
  WindowOptions options = GetParam().options;
  options.training = true;
  try {
    validate(options);
  } catch (const Error&) {
    GTEST_SKIP() << "not a training combination";
  }
  for (int64_t total = 1; total <= 14; ++total) {
    if (options.ratio.mix == RatioPolicy::Mix::kForced && total > 12) break;
    const SlowTwin twin(options, ratios_drawn(options, total), total);
    Planner planner(options);
    PlanRecorder recorder;
    planner.feed(total);
    while (const auto step = planner.next(worth()))
      for (const RowView& row : recorder.apply(*step))
        ASSERT_EQ(row, row.id.beacon ? twin.beacon(row.id.index) : twin.raw(row.id.index)) << "of " << total;
    ASSERT_EQ(recorder.num_tokens(), total);
    ASSERT_EQ(recorder.num_beacons(), twin.num_beacons(total)) << "of " << total;
    ASSERT_EQ(recorder.memory(), twin.memory(total)) << "of " << total;
  }
}

}  // namespace
}  // namespace beacon
