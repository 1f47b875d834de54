#pragma once
// From words to ids: byte-pair encoding over bytes or over characters.
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/bpe_merger.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/vocabulary.h"
#include "tokenizer/word_cache.h"

namespace beacon {

// What one call of encode() works with; reused from section to section.
struct EncodeScratch {
  explicit EncodeScratch(size_t text_bytes) : cache(text_bytes) {}
  RegexScratch regex;
  PreTokenizer::Words words;
  BpeScratch bpe;
  std::vector<int32_t> symbols;
  std::vector<int32_t> marks;
  WordCache cache;
};

// Const after construction, shared by threads.
class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the ids of one word, valid UTF-8.
  virtual void encode(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const = 0;
};

struct BpeOptions {
  std::optional<int32_t> unk;
  bool fuse_unk = false;       // neighbouring unknown characters become one
  bool ignore_merges = false;  // a word that is a token is that token, whatever the merges say
  std::optional<std::array<int32_t, 256>> byte_ids;  // byte fallback
};

using TokenPairs = std::vector<std::pair<std::string, std::string>>;

// Rules from pairs of tokens, in order of rank. Throws kBadFile when a pair or what it makes is not in the
// vocabulary.
std::vector<BpeMerge> make_merges(const Vocabulary& vocabulary, const TokenPairs& pairs);

// Words are bytes, each a symbol of its own (GPT-2). The vocabulary is spelled in the byte alphabet.
class ByteBpe : public WordModel {
 public:
  ByteBpe(const Vocabulary& vocabulary, const std::vector<BpeMerge>& merges, BpeOptions options);
  void encode(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const override;

 private:
  BpeOptions options_;
  BpeMerger merger_;
  std::array<int32_t, 256> byte_symbols_;
  std::vector<std::string> raw_tokens_;  // for ignore_merges
  StringTable whole_words_;
};

// Symbols of characters, beyond the vocabulary for characters that only occur within tokens.
struct CharacterSymbols {
  std::unordered_map<char32_t, int32_t> ids;
  std::vector<std::string> beyond;  // text of symbol vocabulary.size() + i
};

// Words are characters (SentencePiece and what is converted from it). A whole text may be one word: it is cut
// where no rule reaches across, which changes nothing in the result.
class CharBpe : public WordModel {
 public:
  // made: the tokens that the rules make. Cuts are looked for only when may_cut.
  CharBpe(const Vocabulary& vocabulary, CharacterSymbols symbols, const std::vector<BpeMerge>& merges,
          const std::vector<int32_t>& made, BpeOptions options, bool may_cut);
  void encode(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const override;

 private:
  static constexpr int32_t kUnknown = -1;
  int32_t symbol_of(char32_t code) const;
  bool can_cut(int32_t left, int32_t right) const;
  void add_neighbours(const Vocabulary& vocabulary, const std::vector<int32_t>& made);
  void encode_part(std::string_view part, EncodeScratch& scratch, std::vector<int32_t>& out) const;
  void append_unknown(std::string_view character, bool& after_unknown, std::vector<int32_t>& out) const;

  const Vocabulary& vocabulary_;
  std::vector<int32_t> direct_symbols_;  // of the first code points
  CharacterSymbols symbols_;
  BpeMerger merger_;
  BpeOptions options_;
  bool may_cut_;
  std::vector<uint64_t> neighbours_;  // pairs of symbols that stand side by side in a token; open addressing
};

}  // namespace beacon
