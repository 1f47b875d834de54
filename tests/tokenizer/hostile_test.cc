// Files that are broken or made to break us: one line of reason, and no crash.
#include <beacon/error.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "base/mapped_file.h"
#include "tokenizer/fixtures.h"
#include "tokenizer/load.h"
#include "tokenizer/tokenizer_json.h"

namespace beacon::test {
namespace {

template <typename Function>
void expect_error(ErrorCode code, const std::string& part, Function function) {
  try {
    function();
    FAIL() << "nothing was thrown; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << "one line";
  }
}

void expect_json_error(ErrorCode code, const std::string& part, const std::function<void(Json&)>& change,
                       const std::string& base = "gpt2") {
  Json file = read_json(base + ".tokenizer.json");
  change(file);
  expect_error(code, part, [&] { tokenizer_from_json(file.dump()); });
}

TEST(HostileJson, UnknownElementsAreNamed) {
  const auto kUnsupported = ErrorCode::kUnsupported;
  expect_json_error(kUnsupported, "Lowercase", [](Json& f) { f["normalizer"] = {{"type", "Lowercase"}}; });
  expect_json_error(kUnsupported, "Whitespace", [](Json& f) {
    f["pre_tokenizer"] = {{"type", "Whitespace"}};
  });
  expect_json_error(kUnsupported, "BertProcessing", [](Json& f) {
    f["post_processor"] = {{"type", "BertProcessing"}};
  });
  expect_json_error(kUnsupported, "WordPiece", [](Json& f) { f["decoder"] = {{"type", "WordPiece"}}; });
  expect_json_error(kUnsupported, "Unigram", [](Json& f) { f["model"]["type"] = "Unigram"; });
  expect_json_error(kUnsupported, "dropout", [](Json& f) { f["model"]["dropout"] = 0.1; });
  expect_json_error(kUnsupported, "</w>", [](Json& f) { f["model"]["end_of_word_suffix"] = "</w>"; });
}

TEST(HostileJson, BadValues) {
  const auto kBad = ErrorCode::kBadFile;
  expect_json_error(kBad, "merge", [](Json& f) { f["model"]["merges"][0] = "no-space"; });
  expect_json_error(kBad, "merge", [](Json& f) { f["model"]["merges"][3] = {"a", "b", "c"}; });
  expect_json_error(kBad, "zzzz", [](Json& f) { f["model"]["merges"][0] = {"zzzz", "a"}; });
  expect_json_error(kBad, "id", [](Json& f) { f["model"]["vocab"]["a"] = -1; });
  expect_json_error(kBad, "id", [](Json& f) { f["model"]["vocab"]["a"] = 2000000000; });
  expect_json_error(kBad, "id", [](Json& f) { f["model"]["vocab"]["a"] = 18446744073709551615ull; });
  expect_json_error(kBad, "integer", [](Json& f) { f["model"]["vocab"]["a"] = 1.5; });
  expect_json_error(kBad, "both with id",
                    [](Json& f) { f["model"]["vocab"]["a"] = f["model"]["vocab"]["b"]; });
  expect_json_error(kBad, "unk_token", [](Json& f) { f["model"]["unk_token"] = "not there"; });
  expect_json_error(kBad, "<0x00>", [](Json& f) { f["model"]["byte_fallback"] = true; });
  expect_json_error(
      kBad, "<0x41>",
      [](Json& f) {
        f["model"]["vocab"]["<0x-1>"] = f["model"]["vocab"]["<0x41>"];
        f["model"]["vocab"].erase("<0x41>");
      },
      "llama2");
  expect_json_error(kBad, "vocab", [](Json& f) { f["model"]["vocab"] = Json::array(); });
  expect_json_error(kBad, "regular expression", [](Json& f) {
    f["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}, {"invert", false}};
  });
  expect_error(kBad, "JSON", [] { tokenizer_from_json("{\"a\""); });
  expect_error(kBad, "JSON", [] { tokenizer_from_json("[]"); });
  expect_error(kBad, "JSON", [] { tokenizer_from_json(std::string(100000, '[')); });
  expect_error(kBad, "JSON", [] { tokenizer_from_json(""); });
}

TEST(HostileJson, EveryTruncationIsRefused) {
  const std::string text = read_text(tokenizer_data("llama2.tokenizer.json"));
  for (size_t size = 0; size + 2 < text.size(); size += 997)
    EXPECT_THROW(tokenizer_from_json(text.substr(0, size)), Error) << size;
}

SentencePieceModel small_model() {
  const auto file = MappedFile::open(tokenizer_data("sp_bpe.model"));
  return parse_sentencepiece_model(file->bytes(), "test");
}

TEST(HostileSentencePiece, BadPieces) {
  const auto refuse = [](const std::string& part, const std::function<void(SentencePieceModel&)>& change) {
    SentencePieceModel model = small_model();
    change(model);
    expect_error(ErrorCode::kBadFile, part, [&] { check_sentencepiece_model(model, "test"); });
  };
  const auto byte_piece = [](SentencePieceModel& m) -> SentencePiece& {
    for (auto& piece : m.pieces)
      if (piece.type == PieceType::kByte) return piece;
    throw std::runtime_error("no byte piece");
  };
  refuse("<0x-1>", [&](auto& m) { byte_piece(m).text = "<0x-1>"; });
  refuse("<0xZZ>", [&](auto& m) { byte_piece(m).text = "<0xZZ>"; });
  refuse("256 byte tokens, found 255", [&](auto& m) { byte_piece(m).type = PieceType::kNormal; });
  refuse("twice", [](auto& m) { m.pieces.back().text = m.pieces[400].text; });
  refuse("0 bytes", [](auto& m) { m.pieces.back().text.clear(); });
  refuse("NUL", [](auto& m) { m.pieces.back().text = std::string("a\0b", 3); });
  refuse("UTF-8", [](auto& m) { m.pieces.back().text = "\xFF"; });
  refuse("finite", [](auto& m) { m.pieces.back().score = std::nanf(""); });
  refuse("unknown", [](auto& m) { m.pieces.back().type = PieceType::kUnknown; });
  refuse("no pieces", [](auto& m) { m.pieces.clear(); });
  refuse("rules", [](auto& m) { m.charsmap = "xy"; });
  refuse("trie", [](auto& m) { m.charsmap = std::string("\xFF\xFF\xFF\x7F", 4) + std::string(2000, 'a'); });
  // A branch that leaves the array, and a replacement beyond the end of the texts.
  refuse("branch", [](auto& m) {
    m.charsmap = std::string("\0\4\0\0", 4) + std::string(1024, '\x77') + std::string(1, '\0');
  });
  refuse("replacement", [](auto& m) {
    m.charsmap = std::string("\0\4\0\0", 4) + std::string(1024, '\xFF') + std::string(1, '\0');
  });
}

TEST(HostileSentencePiece, TruncatedAndForeignFiles) {
  const std::string text = read_text(tokenizer_data("sp_bpe.model"));
  const auto parse = [](std::string_view bytes) {
    parse_sentencepiece_model({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, "test");
  };
  EXPECT_NO_THROW(parse(text));
  // The model's last parts are optional to the format; what is cut among its pieces is always noticed.
  for (size_t size = 0; size < text.size() / 2; size += 61)
    EXPECT_THROW(parse(std::string_view(text).substr(0, size)), Error);
  expect_error(ErrorCode::kBadFile, "", [&] { parse("not a model at all"); });
  SentencePieceModel word = small_model();
  word.kind = static_cast<SentencePieceModel::Kind>(3);
  expect_error(ErrorCode::kUnsupported, "3 is word", [&] { parse(serialize_sentencepiece_model(word)); });
}

TEST(HostileSentencePiece, WritesWhatItReads) {
  for (const char* name : {"sp_bpe", "sp_bpe_unk", "sp_bpe_words", "sp_unigram"}) {
    const auto file = MappedFile::open(tokenizer_data(std::string(name) + ".model"));
    const auto model = parse_sentencepiece_model(file->bytes(), name);
    const std::string bytes = serialize_sentencepiece_model(model);
    const auto again =
        parse_sentencepiece_model({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, name);
    EXPECT_EQ(serialize_sentencepiece_model(again), bytes);
    ASSERT_EQ(again.pieces.size(), model.pieces.size());
    EXPECT_EQ(again.charsmap, model.charsmap);
  }
}

TEST(HostileGguf, BadVocabularies) {
  const auto refuse = [](ErrorCode code, const std::string& part,
                         const std::function<void(GgufVocabulary&)>& change) {
    GgufVocabulary v;
    v.model = "gpt2";
    v.pre = "gpt-2";
    v.tokens = {"a", "b", "ab", "</s>"};
    v.types = {1, 1, 1, 3};
    v.merges = {"a b"};
    v.bos = 3;
    EXPECT_NO_THROW(tokenizer_from_gguf_vocabulary(v, "test"));
    change(v);
    expect_error(code, part, [&] { tokenizer_from_gguf_vocabulary(v, "test"); });
  };
  const auto kBad = ErrorCode::kBadFile;
  refuse(kBad, "merge", [](auto& v) { v.merges = {"ab"}; });
  refuse(kBad, "merge", [](auto& v) { v.merges = {"a x"}; });
  refuse(kBad, "merge", [](auto& v) { v.merges = {"a "}; });
  refuse(kBad, "token types", [](auto& v) { v.types = {1, 1}; });
  refuse(kBad, "token types", [](auto& v) { v.types[0] = 99; });
  refuse(kBad, "tokens", [](auto& v) { v.tokens.clear(); });
  refuse(kBad, "bos_token_id", [](auto& v) { v.bos = 4; });
  refuse(kBad, "eos_token_id", [](auto& v) { v.ends = {-1}; });
  refuse(kBad, "UTF-8", [](auto& v) { v.tokens[0] = "\xC3"; });
  refuse(kBad, "scores", [](auto& v) { v.model = "llama"; });
  refuse(ErrorCode::kUnsupported, "jais", [](auto& v) { v.pre = "jais"; });
  refuse(ErrorCode::kUnsupported, "bert", [](auto& v) { v.model = "bert"; });
  refuse(kBad, "<0x-1>", [](auto& v) {
    v.model = "llama";
    v.tokens = {"<unk>", "a", "<0x-1>", "</s>"};
    v.types = {2, 1, 6, 3};
    v.scores = {0, 0, 0, 0};
  });
}

TEST(Folders, ReadConfigurations) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "beacon_tokenizer_folder";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const auto write = [&](const char* name, const std::string& text) { std::ofstream(folder / name) << text; };
  expect_error(ErrorCode::kNotFound, "neither", [&] { Tokenizer::load(folder); });
  expect_error(ErrorCode::kNotFound, "nothing", [&] { Tokenizer::load(folder / "absent"); });
  std::filesystem::copy_file(tokenizer_data("sp_bpe.model"), folder / "tokenizer.model");
  write("tokenizer_config.json", R"({"tokenizer_class": "LlamaTokenizer", "add_bos_token": false,
    "eos_token": {"content": "</s>"}, "added_tokens_decoder": {"1300": {"content": "<pad>", "special": true}},
    "chat_template": [{"name": "tools", "template": "x"}, {"name": "default", "template": "y"}]})");
  auto tokenizer = Tokenizer::load(folder);
  EXPECT_FALSE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->vocab_size(), 1301);
  EXPECT_TRUE(tokenizer->is_special(1300));
  EXPECT_EQ(tokenizer->chat_template(), "y");
  EXPECT_EQ(tokenizer->encode("<pad>", {false, true}), std::vector<int32_t>{1300});

  // tokenizer.json is preferred, generation_config.json adds its ends.
  std::filesystem::copy_file(tokenizer_data("llama3.tokenizer.json"), folder / "tokenizer.json");
  write("tokenizer_config.json", R"({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"})");
  write("generation_config.json", R"({"eos_token_id": [6, 0]})");
  tokenizer = Tokenizer::load(folder);
  EXPECT_EQ(tokenizer->bos_id(), tokenizer->find("<|begin_of_text|>"));
  EXPECT_THAT(tokenizer->eos_ids(), testing::IsSupersetOf({0, 6}));
  EXPECT_EQ(Tokenizer::load(folder / "tokenizer.json")->eos_ids(), tokenizer->eos_ids());
  write("generation_config.json", R"({"eos_token_id": [100000]})");
  expect_error(ErrorCode::kBadFile, "eos_token_id", [&] { Tokenizer::load(folder); });
  write("generation_config.json", "{}");
  write("tokenizer_config.json", R"({"eos_token": "<absent>"})");
  expect_error(ErrorCode::kBadFile, "<absent>", [&] { Tokenizer::load(folder); });
  std::filesystem::remove_all(folder);
}

TEST(Decoding, WrongIdsAreRefused) {
  const auto tokenizer = Tokenizer::load(tokenizer_data("gpt2.tokenizer.json"));
  for (const int32_t id : {-1, tokenizer->vocab_size(), 2147483647}) {
    EXPECT_THROW(tokenizer->decode(std::vector<int32_t>{id}), Error);
    EXPECT_THROW(tokenizer->token_text(id), Error);
    StreamDecoder stream(tokenizer);
    EXPECT_THROW(stream.push(id), Error);
  }
  EXPECT_THROW(StreamDecoder(nullptr), Error);
}

}  // namespace
}  // namespace beacon::test
