#include "tokenizer/tokenizer_json.h"

#include <limits>

#include "base/check.h"
#include "tokenizer/assemble.h"
#include "tokenizer/utf8.h"

namespace beacon {
namespace {

// Ids may have holes, but not so many that a small file asks for much memory.
void check_id_range(int64_t id, size_t count, std::string_view token, const std::string& where) {
  const auto limit = static_cast<int64_t>(count * 2 + 65536);
  require(id >= 0 && id < limit, ErrorCode::kBadFile, "{}: expected ids of 0 to {}, found {} for '{}'", where,
          limit - 1, id, token.substr(0, 40));
}

int64_t id_value(const Json& value, std::string_view token, const std::string& where) {
  require(value.is_number_integer(), ErrorCode::kBadFile, "{}: expected an integer id of '{}', found {}",
          where, token.substr(0, 40), value.type_name());
  if (value.is_number_unsigned() && value.get<uint64_t>() > std::numeric_limits<int32_t>::max()) return -1;
  return value.get<int64_t>();
}

std::vector<AddedToken> parse_added_tokens(const JsonFields& root, size_t vocabulary_size) {
  std::vector<AddedToken> tokens;
  if (root.find("added_tokens") == nullptr) return tokens;
  const Json& list = root.array("added_tokens");
  const size_t count = vocabulary_size + list.size();
  for (const Json& entry : list) {
    const JsonFields fields(entry, root.where() + ": added_tokens");
    AddedToken token;
    token.text = fields.string("content");
    const int64_t id = fields.integer("id");
    check_id_range(id, count, token.text, fields.where());
    token.id = static_cast<int32_t>(id);
    token.special = fields.boolean("special", false);
    token.single_word = fields.boolean("single_word", false);
    token.strip_left = fields.boolean("lstrip", false);
    token.strip_right = fields.boolean("rstrip", false);
    token.normalized = fields.boolean("normalized", !token.special);
    tokens.push_back(std::move(token));
  }
  return tokens;
}

TokenPairs parse_merges(const JsonFields& model) {
  TokenPairs pairs;
  const Json& list = model.array("merges");
  pairs.reserve(list.size());
  const auto refuse = [&](size_t at) {
    fail(ErrorCode::kBadFile, "{}: expected merges of two tokens, found something else in merge {}",
         model.where(), at);
  };
  for (size_t i = 0; i < list.size(); ++i) {
    const Json& entry = list[i];
    if (entry.is_string()) {
      const auto& text = entry.get_ref<const std::string&>();
      const size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) refuse(i);
      pairs.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else {
      if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_string()) refuse(i);
      pairs.emplace_back(entry[0].get<std::string>(), entry[1].get<std::string>());
    }
  }
  return pairs;
}

void refuse_unknown_options(const JsonFields& model) {
  const std::string type = model.string("type", "BPE");
  require(type == "BPE", ErrorCode::kUnsupported, "{}: expected a model of type BPE, found '{}'",
          model.where(), type);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
    require(model.string(key, "").empty(), ErrorCode::kUnsupported, "{}: expected no '{}', found '{}'",
            model.where(), key, model.string(key, ""));
  const Json* dropout = model.find("dropout");
  require(dropout == nullptr || (dropout->is_number() && dropout->get<double>() == 0),
          ErrorCode::kUnsupported, "{}: expected no dropout, which would make ids random", model.where());
}

BpeOptions parse_options(const JsonFields& model, const Vocabulary& vocabulary) {
  BpeOptions options;
  options.fuse_unk = model.boolean("fuse_unk", false);
  options.ignore_merges = model.boolean("ignore_merges", false);
  if (model.find("unk_token") != nullptr) {
    const std::string unk = model.string("unk_token");
    options.unk = vocabulary.find(unk);
    require(options.unk.has_value(), ErrorCode::kBadFile, "{}: the unk_token '{}' is not in the vocabulary",
            model.where(), unk);
  }
  if (!model.boolean("byte_fallback", false)) return options;
  options.byte_ids.emplace();
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto id = vocabulary.find(fmt::format("<0x{:02X}>", byte));
    require(id.has_value(), ErrorCode::kBadFile,
            "{}: expected a token <0x{:02X}> in a vocabulary with byte_fallback, found none", model.where(),
            byte);
    (*options.byte_ids)[byte] = *id;
  }
  return options;
}

// Characters that are tokens of their own.
CharacterSymbols single_characters(const Vocabulary& vocabulary) {
  CharacterSymbols symbols;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& text = vocabulary.text(id);
    if (text.empty()) continue;
    const Utf8Step step = read_utf8(text, 0);
    if (step.kind == Utf8Kind::kCharacter && step.bytes == text.size())
      symbols.ids.try_emplace(step.code, id);
  }
  return symbols;
}

// Unknown and byte tokens stand for characters that they do not spell; where merges use them, a text must not
// be cut by looking at its characters.
bool merges_spell_text(const std::vector<BpeMerge>& merges, const BpeOptions& options) {
  const auto is_stand_in = [&](int32_t id) {
    if (options.unk && id == *options.unk) return true;
    if (!options.byte_ids) return false;
    for (const int32_t byte : *options.byte_ids)
      if (byte == id) return true;
    return false;
  };
  for (const BpeMerge& merge : merges)
    if (is_stand_in(merge.left) || is_stand_in(merge.right)) return false;
  return true;
}

void build_model(const JsonFields& model, PreTokenizer pre_tokenizer, Tokenizer::Impl& impl,
                 std::string& rules) {
  BpeOptions options = parse_options(model, impl.vocabulary);
  const auto merges = make_merges(impl.vocabulary, parse_merges(model));
  rules = hash_merges(merges);
  std::unique_ptr<const WordModel> words;
  if (pre_tokenizer.byte_level()) {
    require(!options.byte_ids, ErrorCode::kUnsupported,
            "{}: expected either ByteLevel or byte_fallback, found both", model.where());
    words = std::make_unique<ByteBpe>(impl.vocabulary, merges, options);
  } else {
    std::vector<int32_t> made;
    for (const BpeMerge& merge : merges) made.push_back(merge.merged);
    const bool may_cut = merges_spell_text(merges, options);
    words = std::make_unique<CharBpe>(impl.vocabulary, single_characters(impl.vocabulary), merges, made,
                                      options, may_cut);
  }
  impl.encoder = std::make_unique<WordEncoder>(std::move(pre_tokenizer), std::move(words));
}

void guess_special_ids(Tokenizer::Impl& impl) {
  const auto special = [&](std::string_view text) -> std::optional<int32_t> {
    const auto id = impl.vocabulary.find(text);
    if (id && impl.decode_table.entries[static_cast<size_t>(*id)].special) return id;
    return std::nullopt;
  };
  if (!impl.prefix.empty()) impl.bos = impl.prefix[0];
  for (const char* text : {"<s>", "<|begin_of_text|>"})
    if (!impl.bos) impl.bos = special(text);
  if (const auto id = special("</s>")) add_end_token(impl, *id);
  add_known_end_tokens(impl);
}

}  // namespace

std::unique_ptr<Tokenizer::Impl> parse_tokenizer_json(std::string_view text, const std::string& what) {
  const Json json = parse_json(text, what);
  const JsonFields root(json, what);
  const JsonFields model = root.object("model");
  refuse_unknown_options(model);
  auto impl = std::make_unique<Tokenizer::Impl>();
  const JsonFields vocab = model.object("vocab");
  impl->added = parse_added_tokens(root, vocab.json().size());
  const size_t count = vocab.json().size() + impl->added.size();
  require(count > 0, ErrorCode::kBadFile, "{}: expected a vocabulary, found an empty one", what);
  for (const auto& [token, value] : vocab.json().items()) {
    const int64_t id = id_value(value, token, vocab.where());
    check_id_range(id, count, token, vocab.where());
    impl->vocabulary.set(static_cast<int32_t>(id), token);
  }
  for (const AddedToken& token : impl->added) impl->vocabulary.set(token.id, token.text);
  impl->vocabulary.finish();
  impl->normalizer = parse_normalizer(root.find("normalizer"), what + ": normalizer");
  PreTokenizer pre_tokenizer = parse_pre_tokenizer(root.find("pre_tokenizer"), what + ": pre_tokenizer");
  std::string rules;
  build_model(model, std::move(pre_tokenizer), *impl, rules);
  impl->decode_table = parse_decoder(root.find("decoder"), what + ": decoder", impl->vocabulary);
  parse_post_processor(root.find("post_processor"), what + ": post_processor", *impl);
  finish_tokenizer(*impl, rules);
  guess_special_ids(*impl);
  return impl;
}

}  // namespace beacon
