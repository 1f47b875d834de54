// The parts of tokenizers: UTF-8, regular expressions, merging, streaming.
#include <beacon/error.h>
#include <gtest/gtest.h>

#include <random>

#include "tokenizer/bpe_merger.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/fixtures.h"
#include "tokenizer/regex.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace beacon::test {
namespace {

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return out;
}

TEST(Utf8, ReplacesWhatIsInvalidAsPythonDoes) {
  const Json cases = read_json("invalid_utf8.json");
  ASSERT_GT(cases.size(), 300u);
  const auto tokenizer = Tokenizer::load(tokenizer_data("gpt2.tokenizer.json"));
  for (const Json& entry : cases) {
    const std::string bytes = from_hex(entry.at("hex"));
    const auto wanted = entry.at("text").get<std::string>();
    ASSERT_EQ(replace_invalid_utf8(bytes), wanted) << entry.at("hex");
    ASSERT_EQ(is_valid_utf8(bytes), bytes == wanted);
    ASSERT_EQ(tokenizer->encode(bytes), tokenizer->encode(wanted));
  }
}

TEST(Utf8, EveryScalarValueSurvives) {
  std::string text;
  for (char32_t code = 0; code < 0x110000; ++code)
    if (code < 0xD800 || code > 0xDFFF) append_utf8(text, code);
  EXPECT_TRUE(is_valid_utf8(text));
  char32_t code = 0;
  for (size_t at = 0; at < text.size(); ++code) {
    if (code == 0xD800) code = 0xE000;
    const Utf8Step step = read_utf8(text, at);
    ASSERT_EQ(step.code, code);
    at += step.bytes;
  }
}

TEST(ByteAlphabet, IsOneToOne) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string character;
    append_utf8(character, byte_to_character(static_cast<uint8_t>(byte)));
    EXPECT_EQ(bytes_of_token(character), std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(byte_to_character(' '), 0x120u);
  EXPECT_EQ(bytes_of_token("a b"), std::nullopt);
}

TEST(Unicode, StripsAsPythonDoes) {
  EXPECT_EQ(strip_python(" \x1c\xC2\x85 a b\xE3\x80\x80\n"), "a b");
  EXPECT_EQ(strip_python("\xE2\x80\x8B"), "\xE2\x80\x8B");  // a zero-width space is none
  EXPECT_EQ(strip_python(" \t\n"), "");
  EXPECT_EQ(strip_python(""), "");
}

TEST(RegexTest, SpaceIsWhiteSpaceOnly) {
  RegexScratch scratch;
  const Regex space("\\s+");
  EXPECT_FALSE(space.find("\xE1\xA0\x8E", 0, scratch));  // U+180E is a space to PCRE2 only
  const auto match = space.find("a\xC2\x85\xE3\x80\x80z", 0, scratch);
  ASSERT_TRUE(match);
  EXPECT_EQ(match->first, 1u);
  EXPECT_EQ(match->second, 6u);
}

TEST(RegexTest, KnowsLettersNewerThanPcre2) {
  RegexScratch scratch;
  EXPECT_TRUE(Regex("\\p{L}").find("\xF0\xB1\x8D\x90", 0, scratch));  // U+31350
  EXPECT_FALSE(Regex("[^\\p{L}]").find("\xF0\xB1\x8D\x90", 0, scratch));
}

TEST(RegexTest, RefusesWhatMeansSomethingElse) {
  for (const char* pattern :
       {"\\h", "[a[b]]", "[a&&b]", "a{1,3}+", "(?m:a)", "(*ACCEPT)", "\\K", "(", "[", "a\\", "\\p{L"})
    EXPECT_THROW(Regex{pattern}, Error) << pattern;
  RegexScratch scratch;
  // Backtracking without end is stopped.
  EXPECT_THROW(Regex("(a|aa)+$").find(std::string(4000, 'a') + "b", 0, scratch), Error);
}

TEST(BpeMergerTest, FastAndSlowAgree) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 300; ++round) {
    const auto symbols = static_cast<int32_t>(2 + random() % 4);
    std::vector<BpeMerge> merges;
    int32_t next = symbols;
    for (size_t i = 0; i < 1 + random() % 12; ++i) {
      const auto any = [&] { return static_cast<int32_t>(random() % static_cast<uint64_t>(next)); };
      const int32_t left = any();
      const int32_t right = any();
      merges.push_back({left, right, static_cast<uint32_t>(random() % 6), next});
      ++next;
    }
    const BpeMerger merger(merges);
    BpeScratch scratch;
    // Lengths on both sides of the change from the loop to the heap.
    for (const size_t length : {0, 1, 2, 5, 39, 40, 41, 42, 200}) {
      std::vector<int32_t> word;
      for (size_t i = 0; i < length; ++i)
        word.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(symbols)));
      auto slow = word;
      merger.merge_slowly(slow);
      merger.merge(word, scratch);
      ASSERT_EQ(word, slow) << "round " << round << ", length " << length;
    }
  }
}

// Texts on which a quadratic loop would take hours: the time limit of the test program ends those.
TEST(Tokenizers, LongRunsFinish) {
  const std::string marks = [] {
    std::string out = "a";
    for (int i = 0; i < 250'000; ++i) out += i % 2 == 0 ? "\xCC\x81" : "\xCC\xA3";
    return out;
  }();
  const std::string texts[] = {std::string(1 << 20, ' '),  std::string(1 << 20, 'a'),
                               std::string(1 << 20, '\n'), std::string(1 << 20, '9'),
                               std::string(1 << 20, '<'),  marks};
  for (const char* name : {"gpt2", "smollm", "llama3", "qwen2", "llama2", "sp_bpe"}) {
    const bool is_model = std::string(name) == "sp_bpe";
    const auto tokenizer =
        Tokenizer::load(tokenizer_data(std::string(name) + (is_model ? ".model" : ".tokenizer.json")));
    for (const std::string& text : texts) {
      const auto ids = tokenizer->encode(text, {false, false});
      // NFC reorders the marks.
      if (std::string(name) != "qwen2") {
        EXPECT_EQ(tokenizer->decode(ids), text) << name;
      }
    }
  }
}

TEST(StreamDecoderTest, NeverSplitsACharacter) {
  std::mt19937_64 random(9);
  for (const char* name :
       {"gpt2.tokenizer.json", "llama2.tokenizer.json", "sp_bpe.model", "sp_bpe_unk.model"}) {
    const auto tokenizer = Tokenizer::load(tokenizer_data(name));
    for (int round = 0; round < 300; ++round) {
      std::vector<int32_t> ids;
      for (int i = 0; i < 30; ++i)
        // Low ids are bytes, so that most of the characters are broken.
        ids.push_back(static_cast<int32_t>(
            random() % (round % 2 ? 300 : static_cast<uint64_t>(tokenizer->vocab_size()))));
      StreamDecoder stream(tokenizer);
      std::string streamed;
      for (const int32_t id : ids) {
        const std::string piece = stream.push(id);
        ASSERT_TRUE(is_valid_utf8(piece)) << name;
        streamed += piece;
      }
      ASSERT_EQ(streamed + stream.finish(), tokenizer->decode(ids)) << name;
    }
    const auto ids = tokenizer->encode("\xF0\x9F\x98\x80", {false, false});
    if (ids.size() < 3) continue;
    StreamDecoder stream(tokenizer);
    std::string before;
    for (size_t i = 0; i + 1 < ids.size(); ++i) before += stream.push(ids[i]);
    EXPECT_EQ(before.find('\xF0'), std::string::npos);
    EXPECT_EQ(stream.finish().find("\xEF\xBF\xBD"), 0u) << "an unfinished character ends as U+FFFD";
  }
}

}  // namespace
}  // namespace beacon::test
