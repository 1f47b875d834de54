// The order of samples: complete, seeded, resumable, the same for any number of ranks.
#include "train/data/sampler.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

#include <map>

#include "data_fixture.h"
#include "window/capacity.h"

namespace beacon::train {
namespace {

using beacon::testing::bpe_tokenizer;
using beacon::testing::DataFolder;

// 60 texts of 5 to 64 "a b c ..." in one file, 10 short ones in another.
class SamplerTest : public ::testing::Test {
 protected:
  SamplerTest() {
    std::string first, second;
    for (int i = 0; i < 60; ++i) first += line(5 + i);
    for (int i = 0; i < 10; ++i) second += line(3);
    options_.sources = {{folder_.write("a.jsonl", first)}, {folder_.write("b.jsonl", second)}};
    options_.cache_folder = folder_.cache();
  }
  static std::string line(int letters) {
    std::string text;
    for (int i = 0; i < letters; ++i) text += static_cast<char>('a' + i % 26);
    return "{\"text\": \"" + text + "\"}\n";
  }
  Dataset dataset() const { return Dataset(options_, Encoder(bpe_tokenizer(), "")); }

  DataFolder folder_;
  DatasetOptions options_;
};

std::map<int64_t, int> count(Sampler& sampler, int64_t steps) {
  std::map<int64_t, int> counts;
  for (int64_t s = 0; s < steps; ++s)
    for (const int64_t i : sampler.next()) ++counts[i];
  return counts;
}

TEST_F(SamplerTest, AnEpochHoldsEverySampleOnce) {
  const Dataset data = dataset();
  Sampler sampler(data, {});
  EXPECT_EQ(sampler.steps_per_epoch(), 70);
  EXPECT_EQ(sampler.left_out(), 0);
  for (int epoch = 0; epoch < 2; ++epoch) {
    const auto counts = count(sampler, 70);
    EXPECT_EQ(counts.size(), 70u);
    for (const auto& [index, times] : counts) EXPECT_EQ(times, 1) << index;
  }
}

TEST_F(SamplerTest, WeightsRepeatAndDraw) {
  options_.sources[0].weight = 0.5;
  options_.sources[1].weight = 2.3;
  const Dataset data = dataset();
  Sampler sampler(data, {});
  ASSERT_EQ(sampler.steps_per_epoch(), 30 + 23);
  std::map<int64_t, int> total;
  for (int epoch = 0; epoch < 40; ++epoch) {
    const auto counts = count(sampler, 53);
    int first = 0;
    for (const auto& [index, times] : counts) {
      total[index] += times;
      if (index < 60) {
        EXPECT_EQ(times, 1);
        ++first;
      } else {
        EXPECT_TRUE(times == 2 || times == 3);
      }
    }
    EXPECT_EQ(first, 30);
  }
  // Drawn anew each time: 40 times a half is 20 with a deviation of 3.2; five of them either way.
  for (int64_t i = 0; i < 60; ++i) EXPECT_NEAR(total[i], 20, 16) << i;
}

TEST_F(SamplerTest, OrderFollowsSeedAndEpochAlone) {
  const Dataset data = dataset();
  const auto order = [&](uint64_t seed) {
    SamplerOptions options;
    options.seed = seed;
    Sampler sampler(data, options);
    std::vector<int64_t> out;
    for (int s = 0; s < 140; ++s) out.push_back(sampler.next()[0]);
    return out;
  };
  const auto one = order(1);
  EXPECT_EQ(order(1), one);
  EXPECT_NE(order(2), one);
  EXPECT_NE(std::vector<int64_t>(one.begin(), one.begin() + 70),
            std::vector<int64_t>(one.begin() + 70, one.end()));
}

TEST_F(SamplerTest, RestoredSamplersGoOnExactly) {
  const Dataset data = dataset();
  for (const Grouping grouping : {Grouping::kNone, Grouping::kStrides}) {
    SamplerOptions options;
    options.grouping = grouping;
    options.window.window = options.window.stride = 8;
    options.step_samples = 3;
    Sampler sampler(data, options);
    for (int s = 0; s < 50; ++s) {
      Sampler other(data, options);
      other.restore(sampler.cursor());
      EXPECT_EQ(other.cursor(), sampler.cursor());
      EXPECT_EQ(other.next(), sampler.next());
    }
    EXPECT_GE(sampler.cursor().epoch, 2);
    EXPECT_THROW(sampler.restore({0, 1000}), Error);
    EXPECT_THROW(sampler.restore({-1, 0}), Error);
  }
}

TEST_F(SamplerTest, RanksShareTheStepsOfOne) {
  const Dataset data = dataset();
  SamplerOptions options;
  options.step_samples = 4;
  Sampler alone(data, options);
  options.num_ranks = 2;
  Sampler first(data, options);
  options.rank = 1;
  Sampler second(data, options);
  for (int s = 0; s < 40; ++s) {
    std::vector<int64_t> both = first.next();
    EXPECT_EQ(both.size(), 2u);
    for (const int64_t i : second.next()) both.push_back(i);
    EXPECT_EQ(both, alone.next());
  }
}

TEST_F(SamplerTest, GroupsDoNotMix) {
  const Dataset data = dataset();
  SamplerOptions options;
  options.grouping = Grouping::kStrides;
  options.window.window = 16;
  options.window.stride = 8;
  options.window.sink = 1;
  options.step_samples = 4;
  Sampler sampler(data, options);
  EXPECT_EQ(sampler.left_out() + 4 * sampler.steps_per_epoch(), 70);
  std::map<int64_t, int64_t> members;
  for (int64_t i = 0; i < data.size(); ++i) ++members[num_strides(options.window, data.length(i))];
  int64_t expected = 0;
  for (const auto& [strides, number] : members) expected += number % 4;
  EXPECT_EQ(sampler.left_out(), expected);
  bool rising = true;
  int64_t before = 0;
  for (int64_t s = 0; s < sampler.steps_per_epoch(); ++s) {
    const auto step = sampler.next();
    const int64_t strides = num_strides(options.window, data.length(step[0]));
    for (const int64_t i : step) EXPECT_EQ(num_strides(options.window, data.length(i)), strides);
    rising = rising && strides >= before;
    before = strides;
  }
  EXPECT_FALSE(rising);
}

TEST_F(SamplerTest, Refusals) {
  const Dataset data = dataset();
  SamplerOptions options;
  options.step_samples = 3;
  options.num_ranks = 2;
  EXPECT_THROW(Sampler(data, options), Error);
  options.num_ranks = 1;
  options.rank = 1;
  EXPECT_THROW(Sampler(data, options), Error);
  options.rank = 0;
  options.step_samples = 71;
  EXPECT_THROW(Sampler(data, options), Error);
  EXPECT_THROW(grouping_from_string("some"), Error);
}

}  // namespace
}  // namespace beacon::train
