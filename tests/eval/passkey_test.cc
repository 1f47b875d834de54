#include "eval/passkey.h"

#include <gmock/gmock.h>

#include "eval_fixture.h"

namespace beacon::eval {
namespace {

using beacon::testing::small_windows;
using beacon::testing::tiny_model;
using ::testing::HasSubstr;

std::vector<Document> book() {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "Sentence number " + std::to_string(i) + " stands here. ";
  return {{"book", text}};
}

TEST(Passkey, PromptsHoldTheKeyOnceAtTheirDepth) {
  const auto model = tiny_model();
  PasskeyOptions options;
  options.depths = 5;
  for (const auto* name : {"", "chatml"}) {
    options.chat_template = name;
    for (const int64_t length : {700, 1500}) {
      double before = -1;
      for (int64_t i = 0; i < options.depths; ++i) {
        const PasskeyPrompt prompt = make_passkey_prompt(model->tokenizer(), book(), options, length, i);
        EXPECT_LE(static_cast<int64_t>(prompt.ids.size()), length);
        EXPECT_GT(static_cast<int64_t>(prompt.ids.size()), length - 40);
        EXPECT_EQ(prompt.key.size(), 5u);
        EXPECT_EQ(prompt.depth, i);
        const std::string text = model->tokenizer().decode(prompt.ids);
        const std::string needle = "The pass key is " + prompt.key + ".";
        const size_t at = text.find(needle);
        ASSERT_NE(at, std::string::npos);
        EXPECT_EQ(text.find(needle, at + 1), std::string::npos);
        EXPECT_TRUE(text.ends_with("The pass key is")) << text.substr(text.size() - 40);
        const double where = static_cast<double>(at) / static_cast<double>(text.size());
        EXPECT_GT(where, before);
        before = where;
      }
      EXPECT_GT(before, 0.8);
    }
  }
}

TEST(Passkey, PromptsAreReproducible) {
  const auto model = tiny_model();
  PasskeyOptions options;
  const auto make = [&](int64_t length, int64_t index) {
    return make_passkey_prompt(model->tokenizer(), book(), options, length, index);
  };
  EXPECT_EQ(make(800, 3).ids, make(800, 3).ids);
  EXPECT_NE(make(800, 3).key, make(800, 4).key);
  const std::string key = make(800, 3).key;
  options.seed = 2;
  EXPECT_NE(make(800, 3).key, key);
}

TEST(Passkey, FillerGoesRound) {
  const auto model = tiny_model();
  PasskeyOptions options;
  const auto prompt = make_passkey_prompt(model->tokenizer(), passkey_filler(), options, 2000, 0);
  EXPECT_GT(prompt.ids.size(), 1900u);
}

TEST(Passkey, AQuestionThatDoesNotFitIsRefused) {
  const auto model = tiny_model();
  EXPECT_THROW(make_passkey_prompt(model->tokenizer(), book(), {}, 30, 0), Error);
}

// The tiny model knows nothing; what is counted must add up all the same.
TEST(Passkey, CountsEverySample) {
  const auto model = tiny_model();
  PasskeyOptions options;
  options.lengths = {400, 500};
  options.depths = 3;
  options.samples = 7;
  options.session = small_windows();
  int64_t last = 0;
  const PasskeyResult result = measure_passkey(model, book(), options, [&](int64_t done, int64_t total) {
    EXPECT_EQ(total, 14);
    EXPECT_GE(done, last);
    last = done;
    return true;
  });
  EXPECT_EQ(last, 14);
  EXPECT_EQ(result.all.total, 14);
  ASSERT_EQ(result.lengths.size(), 2u);
  EXPECT_EQ(result.lengths[0].all.total, 7);
  EXPECT_EQ(result.lengths[0].depths[0].total, 3);
  EXPECT_EQ(result.lengths[0].depths[2].total, 2);
  EXPECT_THROW(measure_passkey(model, book(), options, [](int64_t, int64_t) { return false; }), Error);
}

}  // namespace
}  // namespace beacon::eval
