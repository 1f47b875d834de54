// Which tokens are learnt, told from the text they stand for.
#include "train/data/encoder.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

#include <set>

#include "data_fixture.h"

namespace beacon::train {
namespace {

using beacon::testing::bos_tokenizer;
using beacon::testing::bpe_tokenizer;

// The text of every run of learnt tokens.
std::vector<std::string> learnt(const Tokenizer& tokenizer, const EncodedExample& example) {
  std::vector<std::string> texts;
  uint32_t end = 0;
  for (const ScoredRun& run : example.runs) {
    EXPECT_LT(run.begin, run.end);
    EXPECT_TRUE(texts.empty() || run.begin > end);
    end = run.end;
    texts.push_back(tokenizer.decode(std::span(example.ids).subspan(run.begin, run.end - run.begin)));
  }
  EXPECT_LE(end, example.ids.size());
  return texts;
}

Example pair(const std::string& input, const std::string& output) {
  Example example;
  example.kind = ExampleKind::kPair;
  example.input = input;
  example.output = output;
  return example;
}

TEST(Encoder, AllOfATextIsLearnt) {
  for (const auto& tokenizer : {bpe_tokenizer(), bos_tokenizer()}) {
    const Encoder encoder(tokenizer, "");
    Example example;
    example.text = "A text of some words.";
    const EncodedExample encoded = encoder.encode(example);
    auto expected = tokenizer->encode(example.text);
    expected.push_back(tokenizer->eos_ids().front());
    EXPECT_EQ(encoded.ids, expected);
    EXPECT_EQ(encoded.runs, (std::vector<ScoredRun>{{0, static_cast<uint32_t>(expected.size())}}));
  }
}

TEST(Encoder, OnlyAnswersOfAConversationAreLearnt) {
  const auto tokenizer = bpe_tokenizer();
  const Encoder encoder(tokenizer, "chatml");
  Example example;
  example.kind = ExampleKind::kConversation;
  example.messages = {{"system", "Be brief."},
                      {"user", "One?"},
                      {"assistant", "First answer"},
                      {"user", "Two?"},
                      {"assistant", "Second"}};
  EXPECT_EQ(learnt(*tokenizer, encoder.encode(example)),
            (std::vector<std::string>{"First answer<|im_end|>", "Second<|im_end|>"}));
}

TEST(Encoder, OnlyTheOutputOfAPairIsLearnt) {
  const auto tokenizer = bpe_tokenizer();
  const Encoder encoder(tokenizer, "");
  const std::string end = tokenizer->token_text(tokenizer->eos_ids().front());
  std::set<std::string> separators;
  for (int i = 0; i < 30; ++i) {
    const std::string input = "The input, number " + std::to_string(i) + ":";
    const EncodedExample encoded = encoder.encode(pair(input, "output"));
    const auto texts = learnt(*tokenizer, encoded);
    ASSERT_EQ(texts.size(), 1u);
    // A space belongs to the word behind it in this vocabulary.
    const std::string text = texts[0][0] == ' ' ? texts[0].substr(1) : texts[0];
    EXPECT_EQ(text, "output" + end);
    const std::string all = tokenizer->decode(encoded.ids);
    ASSERT_EQ(all.substr(0, input.size()), input);
    separators.insert(all.substr(input.size(), all.size() - input.size() - text.size()));
    EXPECT_EQ(encoder.encode(pair(input, "output")).ids, encoded.ids);
  }
  EXPECT_EQ(separators, (std::set<std::string>{" ", "\n", "\n\n"}));
}

TEST(Encoder, Refusals) {
  EXPECT_THROW(Encoder(bpe_tokenizer(), "nonsense"), Error);
  Example chat;
  chat.kind = ExampleKind::kConversation;
  chat.messages = {{"user", "q"}, {"assistant", "a"}};
  EXPECT_THROW(Encoder(bpe_tokenizer(), "").encode(chat), Error);
}

TEST(Encoder, FingerprintTellsEncodersApart) {
  const std::string plain = Encoder(bpe_tokenizer(), "").fingerprint();
  EXPECT_EQ(Encoder(bpe_tokenizer(), "").fingerprint(), plain);
  EXPECT_NE(Encoder(bpe_tokenizer(), "chatml").fingerprint(), plain);
  EXPECT_NE(Encoder(bos_tokenizer(), "").fingerprint(), plain);
}

}  // namespace
}  // namespace beacon::train
