// Vocabularies of GGUF files.
#include <algorithm>

#include "base/check.h"
#include "io/gguf.h"
#include "tokenizer/assemble.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/load.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/utf8.h"

namespace beacon {
namespace {

// The rules a pre-tokenizer name of llama.cpp stands for, taken from the models it was named after.
struct PreRules {
  PreTokenizer pre_tokenizer;
  Normalizer normalizer;
  bool ignore_merges = false;
  bool add_bos = false;
};

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

PreRules rules_of(std::string_view name, const std::string& what) {
  PreRules rules;
  if (name == "gpt-2" || name == "gpt2") {
    rules.pre_tokenizer.add_byte_level(true, false);
  } else if (name == "smollm") {
    rules.pre_tokenizer.add_digits(true);
    rules.pre_tokenizer.add_byte_level(true, false);
  } else if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") {
    rules.pre_tokenizer.add_split(Regex(kLlama3Pattern), SplitBehavior::kIsolated, false);
    rules.pre_tokenizer.add_byte_level(false, false);
    rules.ignore_merges = true;
    rules.add_bos = true;
  } else if (name == "qwen2" || name == "deepseek-r1-qwen") {
    rules.normalizer.add_form(NormalForm::kNfc);
    rules.pre_tokenizer.add_split(Regex(kQwen2Pattern), SplitBehavior::kIsolated, false);
    rules.pre_tokenizer.add_byte_level(false, false);
  } else {
    fail(ErrorCode::kUnsupported,
         "{}: expected tokenizer.ggml.pre to be gpt-2, smollm, llama-bpe or qwen2, found '{}'; use the "
         "model's "
         "tokenizer.json instead",
         what, name.empty() ? std::string_view("nothing") : name.substr(0, 60));
  }
  return rules;
}

PieceType type_of(const GgufVocabulary& vocabulary, size_t id, const std::string& what) {
  if (vocabulary.types.empty()) {
    const std::string_view token = vocabulary.tokens[id];
    if (vocabulary.model == "llama" && token.starts_with("<0x")) return PieceType::kByte;
    if (vocabulary.unk && *vocabulary.unk == static_cast<int64_t>(id)) return PieceType::kUnknown;
    const bool named = (vocabulary.bos && *vocabulary.bos == static_cast<int64_t>(id)) ||
                       std::find(vocabulary.ends.begin(), vocabulary.ends.end(), static_cast<int64_t>(id)) !=
                           vocabulary.ends.end();
    return named ? PieceType::kControl : PieceType::kNormal;
  }
  const int64_t type = vocabulary.types[id];
  // 0 is "undefined", which writers of padded vocabularies use.
  require(type >= 0 && type <= 6, ErrorCode::kBadFile,
          "{}: expected token types of 0 to 6, found {} for token {}", what, type, id);
  return type == 0 ? PieceType::kUnused : static_cast<PieceType>(type);
}

AddedToken added_token(std::string_view text, size_t id, bool special) {
  AddedToken token;
  token.text = text;
  token.id = static_cast<int32_t>(id);
  token.special = special;
  token.normalized = false;
  return token;
}

std::unique_ptr<Tokenizer::Impl> build_byte_level(const GgufVocabulary& vocabulary, const std::string& what) {
  PreRules rules = rules_of(vocabulary.pre, what);
  auto impl = std::make_unique<Tokenizer::Impl>();
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string_view token = vocabulary.tokens[id];
    const PieceType type = type_of(vocabulary, id, what);
    impl->vocabulary.set(static_cast<int32_t>(id), token);
    DecodeTable::Entry entry{std::string(token), DecodeTable::Kind::kText, false};
    if (auto bytes = bytes_of_token(token)) entry.text = std::move(*bytes);
    impl->decode_table.entries.push_back(std::move(entry));
    if (type == PieceType::kControl || type == PieceType::kUnknown)
      impl->added.push_back(added_token(token, id, true));
    else if (type == PieceType::kUserDefined)
      impl->added.push_back(added_token(token, id, false));
  }
  impl->vocabulary.finish();
  impl->decode_table.raw_bytes = true;
  TokenPairs pairs;
  pairs.reserve(vocabulary.merges.size());
  for (size_t i = 0; i < vocabulary.merges.size(); ++i) {
    const std::string_view merge = vocabulary.merges[i];
    const size_t space = merge.find(' ', 1);
    require(space != std::string_view::npos && space + 1 < merge.size(), ErrorCode::kBadFile,
            "{}: expected merges of two tokens, found '{}' in merge {}", what, merge.substr(0, 40), i);
    pairs.emplace_back(merge.substr(0, space), merge.substr(space + 1));
  }
  const auto merges = make_merges(impl->vocabulary, pairs);
  BpeOptions options;
  options.ignore_merges = rules.ignore_merges;
  impl->normalizer = std::move(rules.normalizer);
  impl->encoder = std::make_unique<WordEncoder>(std::move(rules.pre_tokenizer),
                                                std::make_unique<ByteBpe>(impl->vocabulary, merges, options));
  finish_tokenizer(*impl, hash_merges(merges));
  if (vocabulary.add_bos.value_or(rules.add_bos) && vocabulary.bos)
    impl->prefix = {check_token_id(*impl, *vocabulary.bos, "a bos_token_id", what)};
  return impl;
}

std::unique_ptr<Tokenizer::Impl> build_sentencepiece(const GgufVocabulary& vocabulary,
                                                     const std::string& what) {
  require(vocabulary.scores.size() == vocabulary.tokens.size(), ErrorCode::kBadFile,
          "{}: expected {} scores, one per token, found {}", what, vocabulary.tokens.size(),
          vocabulary.scores.size());
  SentencePieceModel model;
  model.kind = SentencePieceModel::Kind::kBpe;
  model.add_dummy_prefix = vocabulary.add_space_prefix;
  model.remove_extra_whitespaces = vocabulary.remove_extra_whitespaces;
  std::vector<AddedToken> added;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    SentencePiece piece{std::string(vocabulary.tokens[id]), vocabulary.scores[id],
                        type_of(vocabulary, id, what)};
    if (piece.type == PieceType::kByte) model.byte_fallback = true;
    if (piece.type == PieceType::kUserDefined) added.push_back(added_token(piece.text, id, false));
    // Added words are cut out before SentencePiece sees the text, padding never appears: to it both are
    // reserved.
    if (piece.type == PieceType::kUserDefined || piece.type == PieceType::kUnused)
      piece.type = PieceType::kControl;
    model.pieces.push_back(std::move(piece));
  }
  if (model.unk_id() < 0 && vocabulary.unk && *vocabulary.unk >= 0 &&
      static_cast<size_t>(*vocabulary.unk) < model.pieces.size())
    model.pieces[static_cast<size_t>(*vocabulary.unk)].type = PieceType::kUnknown;
  check_sentencepiece_model(model, what);
  auto impl = tokenizer_from_sentencepiece(model, DummyPrefix::kEverySection, std::move(added), what);
  impl->prefix.clear();
  impl->bos.reset();
  impl->eos.clear();
  if (vocabulary.add_bos.value_or(true) && vocabulary.bos)
    impl->prefix = {check_token_id(*impl, *vocabulary.bos, "a bos_token_id", what)};
  return impl;
}

}  // namespace

GgufVocabulary read_gguf_vocabulary(const GgufFile& file) {
  GgufVocabulary out;
  const std::string& what = file.what();
  out.model = file.get_string("tokenizer.ggml.model").value_or("");
  require(!out.model.empty(), ErrorCode::kBadFile,
          "{}: expected a tokenizer (tokenizer.ggml.model), found none", what);
  out.pre = file.get_string("tokenizer.ggml.pre").value_or("");
  out.tokens = file.get_strings("tokenizer.ggml.tokens").value_or(std::vector<std::string_view>());
  out.scores = file.get_floats("tokenizer.ggml.scores").value_or(std::vector<float>());
  out.types = file.get_ints("tokenizer.ggml.token_type").value_or(std::vector<int64_t>());
  out.merges = file.get_strings("tokenizer.ggml.merges").value_or(std::vector<std::string_view>());
  out.bos = file.get_int("tokenizer.ggml.bos_token_id");
  out.unk = file.get_int("tokenizer.ggml.unknown_token_id");
  for (const char* key :
       {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (const auto id = file.get_int(key)) out.ends.push_back(*id);
  out.add_bos = file.get_bool("tokenizer.ggml.add_bos_token");
  out.add_eos = file.get_bool("tokenizer.ggml.add_eos_token");
  out.add_space_prefix = file.get_bool("tokenizer.ggml.add_space_prefix").value_or(true);
  out.remove_extra_whitespaces = file.get_bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  if (const auto text = file.get_string("tokenizer.chat_template")) out.chat_template = std::string(*text);
  return out;
}

std::unique_ptr<Tokenizer::Impl> tokenizer_from_gguf_vocabulary(const GgufVocabulary& vocabulary,
                                                                const std::string& what) {
  require(!vocabulary.tokens.empty(), ErrorCode::kBadFile, "{}: expected tokenizer.ggml.tokens, found none",
          what);
  require(vocabulary.types.empty() || vocabulary.types.size() == vocabulary.tokens.size(),
          ErrorCode::kBadFile, "{}: expected {} token types, one per token, found {}", what,
          vocabulary.tokens.size(), vocabulary.types.size());
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id)
    require(is_valid_utf8(vocabulary.tokens[id]), ErrorCode::kBadFile,
            "{}: expected tokens in UTF-8, found other bytes in token {}", what, id);
  std::unique_ptr<Tokenizer::Impl> impl;
  if (vocabulary.model == "gpt2")
    impl = build_byte_level(vocabulary, what);
  else if (vocabulary.model == "llama")
    impl = build_sentencepiece(vocabulary, what);
  else
    fail(ErrorCode::kUnsupported, "{}: expected tokenizer.ggml.model to be gpt2 or llama, found '{}'", what,
         vocabulary.model.substr(0, 60));
  if (vocabulary.bos) impl->bos = check_token_id(*impl, *vocabulary.bos, "a bos_token_id", what);
  for (const int64_t id : vocabulary.ends)
    add_end_token(*impl, check_token_id(*impl, id, "an eos_token_id", what));
  if (vocabulary.add_eos.value_or(false) && !vocabulary.ends.empty())
    impl->suffix = {check_token_id(*impl, vocabulary.ends[0], "an eos_token_id", what)};
  add_known_end_tokens(*impl);
  impl->chat_template = vocabulary.chat_template;
  return impl;
}

std::shared_ptr<const Tokenizer> load_tokenizer(const GgufFile& file) {
  return std::make_shared<const Tokenizer>(
      tokenizer_from_gguf_vocabulary(read_gguf_vocabulary(file), file.what()));
}

}  // namespace beacon
