#include "base/check.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_model.h"

namespace beacon {

std::vector<BpeMerge> make_merges(const Vocabulary& vocabulary, const TokenPairs& pairs) {
  std::vector<BpeMerge> merges;
  merges.reserve(pairs.size());
  const auto id_of = [&](const std::string& token, size_t rank) {
    const auto id = vocabulary.find(token);
    require(id.has_value(), ErrorCode::kBadFile,
            "expected merges of tokens of the vocabulary, found '{}' in merge {}, which is not in it",
            std::string_view(token).substr(0, 60), rank);
    return *id;
  };
  for (size_t rank = 0; rank < pairs.size(); ++rank) {
    const auto& [left, right] = pairs[rank];
    merges.push_back(
        {id_of(left, rank), id_of(right, rank), static_cast<uint32_t>(rank), id_of(left + right, rank)});
  }
  return merges;
}

ByteBpe::ByteBpe(const Vocabulary& vocabulary, const std::vector<BpeMerge>& merges, BpeOptions options)
    : options_(std::move(options)), merger_(merges) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::string character;
    append_utf8(character, byte_to_character(static_cast<uint8_t>(byte)));
    byte_symbols_[byte] = vocabulary.find(character).value_or(-1);
  }
  if (!options_.ignore_merges) return;
  raw_tokens_.resize(static_cast<size_t>(vocabulary.size()));
  whole_words_.reserve(raw_tokens_.size());
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    auto bytes = bytes_of_token(vocabulary.text(id));
    if (!bytes || bytes->empty()) continue;
    raw_tokens_[static_cast<size_t>(id)] = std::move(*bytes);
    whole_words_.insert(raw_tokens_[static_cast<size_t>(id)], id);
  }
}

void ByteBpe::encode(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const {
  if (scratch.cache.find(word, out)) return;
  const size_t from = out.size();
  if (options_.ignore_merges) {
    const int32_t id = whole_words_.find(word);
    if (id >= 0) {
      out.push_back(id);
      scratch.cache.store(word, out, from);
      return;
    }
  }
  auto& symbols = scratch.symbols;
  symbols.clear();
  bool after_unknown = false;
  for (const char c : word) {
    const int32_t symbol = byte_symbols_[static_cast<unsigned char>(c)];
    if (symbol >= 0) {
      symbols.push_back(symbol);
      after_unknown = false;
    } else if (options_.unk) {
      // Without an unknown token the byte is dropped, as Hugging Face's tokenizers do.
      if (!(after_unknown && options_.fuse_unk)) symbols.push_back(*options_.unk);
      after_unknown = true;
    }
  }
  merger_.merge(symbols, scratch.bpe);
  out.insert(out.end(), symbols.begin(), symbols.end());
  scratch.cache.store(word, out, from);
}

}  // namespace beacon
