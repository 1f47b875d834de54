#include "tokenizer/fixtures.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tokenizer/load.h"
#include "tokenizer/tokenizer_json.h"

namespace beacon::test {

std::filesystem::path tokenizer_data(const std::string& name) {
  return std::filesystem::path(BEACON_TEST_DATA_DIR) / "tokenizer" / name;
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("no test data at " + path.string());
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Json read_json(const std::string& name) { return Json::parse(read_text(tokenizer_data(name))); }

std::string build_text(size_t bytes, uint64_t seed) {
  static const auto pieces = read_json("pieces.json").get<std::vector<std::string>>();
  std::string out;
  uint64_t state = seed;
  while (out.size() < bytes) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    out += pieces[(state >> 33) % pieces.size()];
  }
  return out;
}

const std::string& long_text() {
  static const std::string text = build_text(1'100'000, 1);
  return text;
}

std::vector<std::string> hash_ids(std::span<const int32_t> ids) {
  std::vector<std::string> hashes;
  for (size_t begin = 0; begin < ids.size(); begin += 65536) {
    uint64_t value = 0xCBF29CE484222325ull;
    for (const int32_t id : ids.subspan(begin, std::min<size_t>(65536, ids.size() - begin)))
      value = (value ^ static_cast<uint64_t>(id)) * 0x100000001B3ull;
    char text[17];
    std::snprintf(text, sizeof(text), "%016lx", static_cast<unsigned long>(value));
    hashes.emplace_back(text);
  }
  return hashes;
}

void expect_hashes(const Json& expected, std::span<const int32_t> ids) {
  EXPECT_EQ(ids.size(), expected.at("count").get<size_t>());
  const auto hashes = hash_ids(ids);
  const auto wanted = expected.at("hashes").get<std::vector<std::string>>();
  for (size_t i = 0; i < std::min(hashes.size(), wanted.size()); ++i)
    ASSERT_EQ(hashes[i], wanted[i]) << "in the ids from " << i * 65536;
  EXPECT_EQ(hashes.size(), wanted.size());
}

void expect_cases(const std::shared_ptr<const Tokenizer>& tokenizer, const Json& cases,
                  bool compare_decoded) {
  ASSERT_FALSE(cases.empty());
  for (const Json& entry : cases) {
    const auto text = entry.at("text").get<std::string>();
    EncodeOptions options;
    options.parse_special = entry.at("parse_special").get<bool>();
    const auto wanted = entry.at("ids").get<std::vector<int32_t>>();
    // SentencePiece itself adds no BOS.
    options.add_special = !entry.contains("sentencepiece");
    EXPECT_EQ(tokenizer->encode(text, options), wanted) << "text: " << Json(text).dump();
    for (const bool skip : {false, true}) {
      const char* key = skip && entry.contains("skipped") ? "skipped" : "decoded";
      const std::string decoded = tokenizer->decode(wanted, skip);
      // SentencePiece always writes unknown pieces; leaving them out is ours.
      if (compare_decoded && !(skip && entry.contains("sentencepiece"))) {
        EXPECT_EQ(decoded, entry.at(key).get<std::string>()) << key << " of " << Json(text).dump();
      }
      StreamDecoder stream(tokenizer, skip);
      std::string streamed;
      for (const int32_t id : wanted) streamed += stream.push(id);
      EXPECT_EQ(streamed + stream.finish(), decoded);
    }
  }
}

std::shared_ptr<const Tokenizer> tokenizer_from_json(const std::string& text) {
  return std::make_shared<const Tokenizer>(parse_tokenizer_json(text, "test"));
}

std::shared_ptr<const Tokenizer> tokenizer_from_model(const std::string& name) {
  return Tokenizer::load(tokenizer_data(name + ".model"));
}

}  // namespace beacon::test
