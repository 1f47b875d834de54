#include "eval/perplexity.h"

#include <gmock/gmock.h>

#include "eval_fixture.h"

namespace beacon::eval {
namespace {

using beacon::testing::small_windows;
using beacon::testing::tiny_model;
using ::testing::ElementsAre;

std::string letters(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::string text;
  while (text.size() < count) text += static_cast<char>('a' + generator() % 26);
  return text;
}

TEST(Perplexity, IsTheMeanOverTheTokensOfAllDocuments) {
  const auto model = tiny_model();
  const std::vector<Document> documents = {
      {"long", letters(400, 1)}, {"short", letters(60, 2)}, {"none", "ab"}};
  PerplexityOptions options;
  options.from = 20;
  options.to = 300;
  options.session = small_windows();
  std::vector<int64_t> seen;
  const PerplexityResult result =
      measure_perplexity(*model, documents, options, [&](const Progress& progress) {
        seen.push_back(progress.tokens_done);
        return true;
      });
  EXPECT_THAT(result.too_short, ElementsAre("none"));
  ASSERT_EQ(result.documents.size(), 2u);
  double sum = 0;
  int64_t count = 0;
  for (size_t d = 0; d < 2; ++d) {
    std::vector<int32_t> ids = model->tokenizer().encode(documents[d].text);
    ids.resize(std::min<size_t>(ids.size(), 300));
    Session session(model, options.session);
    const std::vector<float> scores = session.score(ids);
    double own = 0;
    for (size_t t = 20; t < ids.size(); ++t) own -= scores[t];
    EXPECT_EQ(result.documents[d].tokens, static_cast<int64_t>(ids.size()) - 20);
    EXPECT_NEAR(result.documents[d].nll, own / static_cast<double>(ids.size() - 20), 1e-4);
    sum += own;
    count += static_cast<int64_t>(ids.size()) - 20;
  }
  EXPECT_EQ(result.tokens, count);
  EXPECT_NEAR(result.nll, sum / static_cast<double>(count), 1e-4);
  ASSERT_TRUE(result.ci95);
  EXPECT_LT(result.ci95->low, result.nll);
  EXPECT_TRUE(result.documents[0].ci95);
  EXPECT_FALSE(result.documents[1].ci95);  // fewer than two stretches
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
}

TEST(Perplexity, ToIsExclusive) {
  const auto model = tiny_model();
  PerplexityOptions options;
  options.from = 7;
  options.to = 8;
  options.session = small_windows();
  const auto result = measure_perplexity(*model, {{"x", letters(50, 3)}}, options);
  EXPECT_EQ(result.tokens, 1);
  EXPECT_FALSE(result.ci95);
}

TEST(Perplexity, Refusals) {
  const auto model = tiny_model();
  PerplexityOptions options;
  options.session = small_windows();
  EXPECT_THROW(measure_perplexity(*model, {{"x", "short"}}, options), Error);
  options.from = 0;
  EXPECT_THROW(measure_perplexity(*model, {{"x", letters(50, 3)}}, options), Error);
  options.from = options.to = 8;
  EXPECT_THROW(measure_perplexity(*model, {{"x", letters(50, 3)}}, options), Error);
}

}  // namespace
}  // namespace beacon::eval
