// Ids equal to those of libsentencepiece: fixed ones, and those of the library in this process.
#include <gtest/gtest.h>

#include "base/mapped_file.h"
#include "tokenizer/fixtures.h"
#include "tokenizer/load.h"

namespace beacon::test {
namespace {

SentencePieceModel read_model(const std::string& name) {
  const auto file = MappedFile::open(tokenizer_data(name + ".model"));
  return parse_sentencepiece_model(file->bytes(), name);
}

class SentencePieceParity : public testing::TestWithParam<const char*> {};
// Without the unigram model: "----" has two cuts of the same likelihood, which versions 0.1 and 0.2 of the
// library, to which we leave such models, round differently.
class SentencePieceBpeParity : public testing::TestWithParam<const char*> {};

TEST_P(SentencePieceBpeParity, MegabyteOfText) {
  const auto tokenizer = tokenizer_from_model(GetParam());
  const Json expected = read_json(std::string(GetParam()) + ".expected.json");
  expect_hashes(expected.at("text_plain"), tokenizer->encode(long_text(), {false, false}));
}

TEST_P(SentencePieceParity, Cases) {
  const bool has_rules = std::string(GetParam()) == "sp_unigram";
  expect_cases(tokenizer_from_model(GetParam()),
               read_json(std::string(GetParam()) + ".expected.json").at("cases"), !has_rules);
}

INSTANTIATE_TEST_SUITE_P(Trained, SentencePieceBpeParity,
                         testing::Values("sp_bpe", "sp_bpe_unk", "sp_bpe_words"));
INSTANTIATE_TEST_SUITE_P(Trained, SentencePieceParity,
                         testing::Values("sp_bpe", "sp_bpe_unk", "sp_bpe_words", "sp_unigram"));

TEST(SentencePieceFastPath, IsTakenForPlainBpeOnly) {
  EXPECT_TRUE(has_fast_encoder(read_model("sp_bpe")));
  EXPECT_TRUE(has_fast_encoder(read_model("sp_bpe_unk")));
  EXPECT_TRUE(has_fast_encoder(read_model("sp_bpe_words")));
  EXPECT_FALSE(has_fast_encoder(read_model("sp_unigram")));
}

// Scores of few values: ties must go to the leftmost pair.
TEST(SentencePieceFastPath, AgreesWithTheLibraryWhenScoresTie) {
  for (const char* name : {"sp_bpe", "sp_bpe_unk", "sp_bpe_words"}) {
    SentencePieceModel model = read_model(name);
    for (size_t i = 0; i < model.pieces.size(); ++i) model.pieces[i].score = -static_cast<float>(i % 3);
    Vocabulary vocabulary;
    for (size_t i = 0; i < model.pieces.size(); ++i)
      vocabulary.set(static_cast<int32_t>(i), model.pieces[i].text);
    vocabulary.finish();
    const auto fast = make_sentencepiece_encoder(model, vocabulary, DummyPrefix::kEverySection);
    const auto library = make_library_encoder(model, DummyPrefix::kEverySection);
    for (uint64_t seed = 1; seed < 16; ++seed) {
      const std::string text = build_text(3000, seed);
      EncodeScratch scratch(text.size());
      std::vector<int32_t> a;
      std::vector<int32_t> b;
      fast->encode(text, true, scratch, a);
      library->encode(text, true, scratch, b);
      ASSERT_EQ(a, b) << name << ", seed " << seed;
    }
  }
}

TEST(SentencePieceGguf, SameIdsAsTheModelFile) {
  const auto tokenizer = Tokenizer::load(tokenizer_data("sp_bpe.gguf"));
  expect_hashes(read_json("sp_bpe.expected.json").at("text_plain"),
                tokenizer->encode(long_text(), {false, false}));
  EXPECT_EQ(tokenizer->fingerprint(), tokenizer_from_model("sp_bpe")->fingerprint());
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_ids(), std::vector<int32_t>{2});
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->encode("")[0], 1);
}

// The vocabulary of the script that writes GGUF files with random weights: bytes, and pieces t0, t1, ...
TEST(SentencePieceGguf, VocabularyOfNumberedTokens) {
  std::vector<std::string> texts = {"<unk>", "<s>", "</s>"};
  for (int i = 0; i < 256; ++i) {
    char text[8];
    std::snprintf(text, sizeof(text), "<0x%02X>", i);
    texts.emplace_back(text);
  }
  for (int i = 0; i < 1000; ++i) texts.push_back("t" + std::to_string(i));
  GgufVocabulary vocabulary;
  vocabulary.model = "llama";
  for (size_t i = 0; i < texts.size(); ++i) {
    vocabulary.tokens.push_back(texts[i]);
    vocabulary.scores.push_back(-static_cast<float>(i));
    vocabulary.types.push_back(i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
  }
  vocabulary.bos = 1;
  vocabulary.ends = {2};
  const Tokenizer tokenizer(tokenizer_from_gguf_vocabulary(vocabulary, "test"));
  const auto ids = tokenizer.encode("t12 x");
  // BOS, the mark of a space in three bytes, t12, which is merged by way of t1, the mark again, x as a byte.
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 229, 153, 132, 259 + 12, 229, 153, 132, 123}));
  EXPECT_EQ(tokenizer.decode(ids, true), "\xE2\x96\x81t12\xE2\x96\x81x");
}

TEST(SentencePiece, LegacyFalsePrefixesTheFirstSectionOnly) {
  const SentencePieceModel model = read_model("sp_bpe");
  const Tokenizer every(tokenizer_from_sentencepiece(model, DummyPrefix::kEverySection, {}, "test"));
  const Tokenizer first(tokenizer_from_sentencepiece(model, DummyPrefix::kFirstSection, {}, "test"));
  const EncodeOptions options{false, true};
  const auto a = every.encode("the</s>the", options);
  const auto b = first.encode("the</s>the", options);
  const auto plain = every.encode("the", options);
  EXPECT_EQ(std::vector<int32_t>(a.end() - static_cast<ptrdiff_t>(plain.size()), a.end()), plain);
  EXPECT_NE(a, b);
  EXPECT_EQ(first.encode("the", options), plain);
}

}  // namespace
}  // namespace beacon::test
