// What a token is worth: how often answers repeat it.
#include "train/data/token_worth.h"

#include <beacon/error.h>
#include <gtest/gtest.h>

#include "data_fixture.h"
#include "window/labels.h"

namespace beacon::train {
namespace {

using beacon::testing::bpe_tokenizer;
using beacon::testing::DataFolder;

class TokenWorthTest : public ::testing::Test {
 protected:
  TokenWorthTest() {
    // "a" is read 60 times and never asked for, " b" read 30 times and repeated in 30 answers.
    std::string pairs, prose;
    for (int i = 0; i < 30; ++i)
      pairs += R"({"input": "a.a. b", "output": "b"})"
               "\n";
    for (int i = 0; i < 30; ++i)
      prose += R"({"text": "abcabc"})"
               "\n";
    pairs_ = folder_.write("pairs.jsonl", pairs);
    prose_ = folder_.write("prose.jsonl", prose);
  }
  Dataset dataset(const std::vector<std::filesystem::path>& paths) const {
    DatasetOptions options;
    for (const auto& path : paths) options.sources.push_back({path});
    options.cache_folder = folder_.cache();
    return {options, Encoder(bpe_tokenizer(), "")};
  }
  static float of(const std::vector<float>& worth, const char* letter) {
    return worth[static_cast<size_t>(bpe_tokenizer()->encode(letter).front())];
  }

  DataFolder folder_;
  std::filesystem::path pairs_, prose_;
};

TEST_F(TokenWorthTest, IsTheShareThatAnswersRepeat) {
  const Dataset data = dataset({pairs_});
  double seen = 0, learnt = 0;
  for (const int32_t label : data.at(0).labels) {
    seen += 1;
    learnt += label == kIgnoredLabel ? 0 : 1;
  }
  const std::vector<float> worth = token_worth(data, 512);
  ASSERT_EQ(worth.size(), 512U);
  const double mean = 10 * learnt / seen;
  EXPECT_FLOAT_EQ(of(worth, "a"), static_cast<float>((0 + mean) / (60 + 10)));
  EXPECT_FLOAT_EQ(of(worth, " b"), static_cast<float>((30 + mean) / (60 + 10)));
  EXPECT_FLOAT_EQ(of(worth, "c"), static_cast<float>(learnt / seen));  // never met
}

TEST_F(TokenWorthTest, ProseTellsNothing) {
  EXPECT_EQ(token_worth(dataset({pairs_, prose_}), 512), token_worth(dataset({pairs_}), 512));
  EXPECT_THROW(token_worth(dataset({prose_}), 512), Error);
}

}  // namespace
}  // namespace beacon::train
