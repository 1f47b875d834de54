#include "base/check.h"
#include "tokenizer/utf8.h"
#include "tokenizer/word_model.h"

namespace beacon {
namespace {

constexpr uint64_t kEmpty = ~uint64_t{0};
// Code points that are looked up in an array.
constexpr char32_t kDirectCodes = 0x10000;

uint64_t pair_key(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
}

uint64_t mix(uint64_t key) {
  key *= 0x9E3779B97F4A7C15ull;
  return key ^ (key >> 29);
}

}  // namespace

CharBpe::CharBpe(const Vocabulary& vocabulary, CharacterSymbols symbols, const std::vector<BpeMerge>& merges,
                 const std::vector<int32_t>& made, BpeOptions options, bool may_cut)
    : vocabulary_(vocabulary),
      symbols_(std::move(symbols)),
      merger_(merges),
      options_(std::move(options)),
      may_cut_(may_cut && !options_.ignore_merges) {
  for (const auto& [code, symbol] : symbols_.ids) {
    if (code >= kDirectCodes) continue;
    if (code >= direct_symbols_.size()) direct_symbols_.resize(code + 1, kUnknown);
    direct_symbols_[code] = symbol;
  }
  if (may_cut_) add_neighbours(vocabulary, made);
}

void CharBpe::add_neighbours(const Vocabulary& vocabulary, const std::vector<int32_t>& made) {
  size_t count = 0;
  for (const int32_t id : made) count += vocabulary.text(id).size();
  size_t slots = 16;
  while (slots < count * 2) slots *= 2;
  neighbours_.assign(slots, kEmpty);
  for (const int32_t id : made) {
    const std::string_view text = vocabulary.text(id);
    int32_t left = kUnknown;
    for (size_t at = 0; at < text.size();) {
      const Utf8Step step = read_utf8(text, at);
      const int32_t right = symbol_of(step.code);
      if (at > 0) {
        uint64_t slot = mix(pair_key(left, right)) & (slots - 1);
        while (neighbours_[slot] != kEmpty && neighbours_[slot] != pair_key(left, right))
          slot = (slot + 1) & (slots - 1);
        neighbours_[slot] = pair_key(left, right);
      }
      left = right;
      at += step.bytes;
    }
  }
}

int32_t CharBpe::symbol_of(char32_t code) const {
  if (code < direct_symbols_.size()) return direct_symbols_[code];
  if (code < kDirectCodes) return kUnknown;
  const auto entry = symbols_.ids.find(code);
  return entry == symbols_.ids.end() ? kUnknown : entry->second;
}

bool CharBpe::can_cut(int32_t left, int32_t right) const {
  // Neighbouring unknown characters may become one token.
  const int32_t limit = vocabulary_.size();
  const bool left_unknown = left < 0 || left >= limit;
  const bool right_unknown = right < 0 || right >= limit;
  if (left_unknown && right_unknown && !options_.byte_ids) return false;
  if (left < 0 || right < 0) return true;
  const uint64_t mask = neighbours_.size() - 1;
  const uint64_t key = pair_key(left, right);
  uint64_t slot = mix(key) & mask;
  while (neighbours_[slot] != kEmpty && neighbours_[slot] != key) slot = (slot + 1) & mask;
  return neighbours_[slot] == kEmpty;
}

void CharBpe::encode(std::string_view word, EncodeScratch& scratch, std::vector<int32_t>& out) const {
  const auto encode_cached = [&](std::string_view part) {
    if (scratch.cache.find(part, out)) return;
    const size_t from = out.size();
    encode_part(part, scratch, out);
    scratch.cache.store(part, out, from);
  };
  if (!may_cut_) {
    encode_cached(word);
    return;
  }
  size_t begin = 0;
  int32_t left = kUnknown;
  for (size_t at = 0; at < word.size();) {
    const Utf8Step step = read_valid_utf8(word, at);
    const int32_t right = symbol_of(step.code);
    if (at > begin && can_cut(left, right)) {
      encode_cached(word.substr(begin, at - begin));
      begin = at;
    }
    left = right;
    at += step.bytes;
  }
  if (begin < word.size()) encode_cached(word.substr(begin));
}

void CharBpe::append_unknown(std::string_view character, bool& after_unknown,
                             std::vector<int32_t>& out) const {
  if (options_.byte_ids) {
    for (const char c : character) out.push_back((*options_.byte_ids)[static_cast<unsigned char>(c)]);
    return;
  }
  if (options_.unk && !(after_unknown && options_.fuse_unk)) out.push_back(*options_.unk);
  after_unknown = true;
}

void CharBpe::encode_part(std::string_view part, EncodeScratch& scratch, std::vector<int32_t>& out) const {
  if (options_.ignore_merges) {
    if (const auto id = vocabulary_.find(part)) {
      out.push_back(*id);
      return;
    }
  }
  auto& symbols = scratch.symbols;
  symbols.clear();
  bool after_unknown = false;
  for (size_t at = 0; at < part.size();) {
    const Utf8Step step = read_valid_utf8(part, at);
    const int32_t symbol = symbol_of(step.code);
    if (symbol < 0) {
      append_unknown(part.substr(at, step.bytes), after_unknown, symbols);
    } else {
      symbols.push_back(symbol);
      after_unknown = false;
    }
    at += step.bytes;
  }
  merger_.merge(symbols, scratch.bpe);
  after_unknown = false;
  for (const int32_t symbol : symbols) {
    const int32_t beyond = symbol - vocabulary_.size();
    if (beyond >= 0) {
      append_unknown(symbols_.beyond[static_cast<size_t>(beyond)], after_unknown, out);
    } else {
      // An unknown token made above continues a run of unknown ones.
      const bool is_unknown = options_.unk && symbol == *options_.unk && !options_.byte_ids;
      if (!(is_unknown && after_unknown && options_.fuse_unk)) out.push_back(symbol);
      after_unknown = is_unknown;
    }
  }
}

}  // namespace beacon
