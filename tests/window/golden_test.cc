// The plans of the original Python code: slots, positions, memory sizes and masks of every golden case.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "window/capacity.h"
#include "window/labels.h"
#include "window/planner.h"

namespace beacon {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The u8 tensors of a safetensors file, by name.
class Masks {
 public:
  explicit Masks(const fs::path& path) : bytes_(read_file(path)) {
    uint64_t size = 0;
    std::memcpy(&size, bytes_.data(), sizeof(size));
    header_ = json::parse(bytes_.substr(8, size));
    data_ = 8 + size;
  }
  bool has(const std::string& name) const { return header_.contains(name); }
  std::vector<uint8_t> get(const std::string& name) const {
    const auto offsets = header_.at(name).at("data_offsets").get<std::vector<size_t>>();
    return {bytes_.begin() + static_cast<std::ptrdiff_t>(data_ + offsets.at(0)),
            bytes_.begin() + static_cast<std::ptrdiff_t>(data_ + offsets.at(1))};
  }

 private:
  std::string bytes_;
  json header_;
  size_t data_ = 0;
};

struct GoldenCase {
  fs::path folder;
  json config, info;
  int64_t tokens() const { return info.at("n_tokens").get<int64_t>(); }
  bool has_quirk(const std::string& section) const {
    const auto& quirks = info.at("quirk_sections");
    return std::any_of(quirks.begin(), quirks.end(), [&](const json& q) { return q == section || q == "*"; });
  }
};

GoldenCase load(const std::string& name) {
  GoldenCase c;
  c.folder = fs::path(BEACON_TEST_DATA_DIR) / "golden" / name;
  c.config = json::parse(read_file(c.folder / "config.json"));
  c.info = json::parse(read_file(c.folder / "case.json"));
  return c;
}

WindowOptions options_of(const GoldenCase& c) {
  WindowOptions o;
  o.window = c.config.at("beacon_window");
  o.stride = c.config.at("beacon_stride");
  o.sink = c.config.at("beacon_sink_size");
  o.attend_prev = c.config.at("beacon_attend_prev");
  o.parallel_windows = c.config.at("beacon_parallel_window");
  o.placement = c.config.at("beacon_pos") == "append" ? Placement::kAppend : Placement::kInterleave;
  const std::string attention = c.config.at("beacon_attn");
  o.attention = attention == "full-coverage"    ? BeaconAttention::kFullCoverage
                : attention == "step-expansion" ? BeaconAttention::kStepExpansion
                                                : BeaconAttention::kSegmentation;
  o.ratio.ratios = c.config.at("beacon_ratio").get<std::vector<int>>();
  const std::string mix = c.config.at("beacon_ratio_mix");
  if (mix == "instance-random") o.ratio.mix = RatioPolicy::Mix::kInstanceRandom;
  if (mix.rfind("adapt-", 0) == 0) {
    o.ratio.mix = RatioPolicy::Mix::kAdapt;
    o.ratio.adapt_tokens = std::stol(mix.substr(6));
  }
  o.max_positions = c.config.at("max_position_embeddings");
  if (c.info.at("fwd_kwargs").contains("beacon_skip_first"))
    o.skip_first = c.info.at("fwd_kwargs").at("beacon_skip_first");
  if (c.info.at("fwd_kwargs").contains("beacon_skip_last"))
    o.skip_last = c.info.at("fwd_kwargs").at("beacon_skip_last").get<int64_t>();
  return o;
}

Planner forced_planner(const GoldenCase& c, const json& ratios) {
  Planner planner(options_of(c));
  planner.force_ratios(ratios.get<std::vector<int>>());
  return planner;
}

std::vector<int64_t> sizes_before(const Step& step) {
  return {step.sink_rows, step.beacon_rows, step.cached_rows};
}

std::vector<int64_t> sizes_after(const Planner& planner) {
  return {planner.state().sink_rows, planner.state().beacon_rows, planner.open_rows()};
}

std::vector<Step> all_steps(Planner& planner) {
  std::vector<Step> steps;
  while (auto step = planner.next()) steps.push_back(std::move(*step));
  return steps;
}

std::vector<uint8_t> mask_of(const Step& step) {
  if (!step.causal) return step.mask;
  const int64_t width = step.memory_rows() + step.num_rows();
  std::vector<uint8_t> mask(static_cast<size_t>(step.num_rows() * width), 0);
  for (int64_t i = 0; i < step.num_rows(); ++i)
    std::fill_n(mask.begin() + i * width, step.memory_rows() + i + 1, 1);
  return mask;
}

std::vector<std::string> case_names() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fs::path(BEACON_TEST_DATA_DIR) / "golden"))
    if (entry.is_directory()) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

class Golden : public ::testing::TestWithParam<std::string> {};

TEST(GoldenCases, AreAllThere) { EXPECT_EQ(case_names().size(), 32u); }

// One forward over all tokens.
TEST_P(Golden, FullPassHasTheSameSteps) {
  const GoldenCase c = load(GetParam());
  const Masks expected(c.folder / "expected.safetensors");
  Planner planner = forced_planner(c, c.info.at("ratios_per_window"));
  planner.feed(c.tokens());
  const std::vector<Step> steps = all_steps(planner);
  const json& traces = c.info.at("steps");
  const bool cut_trace = GetParam() == "long64_r8";  // stores its first two and last two steps, and no masks
  ASSERT_EQ(steps.size(), cut_trace ? 65 : traces.size());
  const int beacon_id = c.info.at("beacon_token_id");
  for (size_t i = 0; i < traces.size(); ++i) {
    SCOPED_TRACE("step " + std::to_string(i));
    const Step& step = steps[cut_trace && i >= 2 ? steps.size() - traces.size() + i : i];
    const json& trace = traces[i];
    const auto ids = trace.at("input_ids").get<std::vector<int>>();
    ASSERT_EQ(step.slots.size(), ids.size());
    for (size_t row = 0; row < ids.size(); ++row)
      EXPECT_EQ(step.slots[row] == SlotKind::kRaw, ids[row] != beacon_id) << "row " << row;
    EXPECT_EQ(step.positions, trace.at("position_ids").get<std::vector<int32_t>>());
    EXPECT_EQ(sizes_before(step), trace.at("mem_sink_beacon_raw").get<std::vector<int64_t>>());
    EXPECT_EQ(step.token_end, trace.at("end_idx").get<int64_t>());
    EXPECT_EQ(step.close.closes, trace.at("full_window").get<bool>());
    const std::string mask = "mask." + std::to_string(i);
    EXPECT_EQ(expected.has(mask), !cut_trace);
    // The original hides columns 0 and 1 here instead of the beacons (study 7.1 d).
    if (expected.has(mask) && GetParam() != "interleave_step_noprev_quirk") {
      EXPECT_EQ(mask_of(step), expected.get(mask));
    }
  }
  EXPECT_EQ(sizes_after(planner),
            c.info.at("memory_after_full_pass_sink_beacon_raw").get<std::vector<int64_t>>());
}

TEST_P(Golden, ChunkedPassEndsWithTheSameMemory) {
  const GoldenCase c = load(GetParam());
  if (!c.info.contains("chunk_sizes")) GTEST_SKIP() << "the case has no chunked pass";
  if (c.has_quirk("chunked")) GTEST_SKIP() << "holds an original bug";
  Planner planner = forced_planner(c, c.info.at("chunk_ratios"));
  for (int64_t size : c.info.at("chunk_sizes").get<std::vector<int64_t>>()) {
    planner.feed(size);
    all_steps(planner);
  }
  EXPECT_EQ(planner.tokens_planned(), c.tokens());
  EXPECT_EQ(sizes_after(planner), c.info.at("chunked_memory_sink_beacon_raw").get<std::vector<int64_t>>());
}

// A prompt, then one token at a time.
TEST_P(Golden, DecodingInsertsBeaconsAndClosesWindowsAtTheSameTokens) {
  const GoldenCase c = load(GetParam());
  for (const std::string section : {"gen_long", "gen_short"}) {
    if (!c.info.contains(section) || c.has_quirk(section)) continue;
    SCOPED_TRACE(section);
    const json& generation = c.info.at(section);
    Planner planner = forced_planner(c, generation.at("ratios"));
    planner.feed(generation.at("prompt_len").get<int64_t>());
    all_steps(planner);
    ASSERT_FALSE(generation.at("decode_steps").empty());
    for (const json& trace : generation.at("decode_steps")) {
      planner.feed(1);
      const std::vector<Step> steps = all_steps(planner);
      ASSERT_EQ(steps.size(), 1u);
      EXPECT_EQ(steps[0].num_rows(), trace.at("n_input").get<int64_t>());
      // The original writes -1 where raw rows act as beacons (ratio 0).
      EXPECT_EQ(steps[0].num_rows() - 1, std::max<int64_t>(0, trace.at("beacons_inserted").get<int64_t>()));
      EXPECT_EQ(steps[0].close.closes, trace.at("window_completed").get<bool>());
      EXPECT_EQ(sizes_before(steps[0]), trace.at("memory_before").get<std::vector<int64_t>>());
    }
  }
}

TEST_P(Golden, TrainingDrawsAndScoresTheSame) {
  const GoldenCase c = load(GetParam());
  if (!c.info.contains("train_ratios")) GTEST_SKIP() << "the case has no training pass";
  WindowOptions options = options_of(c);
  options.training = true;
  Planner planner(options);
  planner.feed(c.tokens());
  const std::vector<Step> steps = all_steps(planner);
  EXPECT_EQ(planner.state().draws, static_cast<int64_t>(c.info.at("train_ratios").size()));
  for (SlotKind slot : steps.back().slots) EXPECT_EQ(slot, SlotKind::kRaw);
  const auto counts = scored(options, c.tokens());
  EXPECT_EQ(std::count(counts.begin(), counts.end(), 1), c.info.at("train_valid_tokens").get<int64_t>());
}

// adapt-N chooses by the first forward of each pass.
TEST_P(Golden, RatioPoliciesChooseTheSame) {
  const GoldenCase c = load(GetParam());
  const WindowOptions options = options_of(c);
  const auto ratios = [&](const json& expected, int64_t first_feed) {
    Planner planner(options);
    planner.feed(first_feed);
    all_steps(planner);
    planner.feed(c.tokens() + 64);
    std::set<int> drawn;
    for (const Step& step : all_steps(planner))
      for (const WindowRecord& window : step.close.windows) drawn.insert(window.ratio);
    const auto list = expected.get<std::vector<int>>();
    EXPECT_EQ(drawn, std::set<int>(list.begin(), list.end())) << "first feed " << first_feed;
  };
  const bool fixed = options.ratio.ratios.size() == 1 || options.ratio.mix == RatioPolicy::Mix::kAdapt;
  if (!fixed) GTEST_SKIP() << "drawn by numpy's generator";
  if (options.skip_last) GTEST_SKIP() << "nothing closes after the first pass";
  ratios(c.info.at("ratios_per_window"), c.tokens());
  if (c.info.contains("chunk_sizes")) ratios(c.info.at("chunk_ratios"), c.info.at("chunk_sizes")[0]);
  if (c.info.contains("gen_short"))
    ratios(c.info.at("gen_short").at("ratios"), c.info.at("gen_short").at("prompt_len"));
  if (c.info.contains("gen_long"))
    ratios(c.info.at("gen_long").at("ratios"), c.info.at("gen_long").at("prompt_len"));
}

INSTANTIATE_TEST_SUITE_P(All, Golden, ::testing::ValuesIn(case_names()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace beacon
