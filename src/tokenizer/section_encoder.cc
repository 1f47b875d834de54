#include "tokenizer/section_encoder.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/utf8.h"

namespace beacon {

void WordEncoder::encode(std::string_view section, bool first, EncodeScratch& scratch,
                         std::vector<int32_t>& out) const {
  auto& words = scratch.words;
  pre_tokenizer_.run(section, first, scratch.regex, words);
  for (const WordSpan span : words.spans)
    model_->encode(words.view.substr(span.begin, span.end - span.begin), scratch, out);
}

namespace {

// libsentencepiece indexes with int.
constexpr size_t kMaxLibraryBytes = size_t{256} << 20;

class LibraryEncoder : public SectionEncoder {
 public:
  LibraryEncoder(SentencePieceModel model, DummyPrefix prefix) {
    // The library prefixes every text it gets. Where only the first section is to have the prefix we write it
    // ourselves; with surplus spaces removed our own would be removed too, and then the library does it.
    if (prefix == DummyPrefix::kFirstSection && !model.remove_extra_whitespaces &&
        !model.whitespace_as_suffix) {
      prefix_first_ = model.add_dummy_prefix;
      model.add_dummy_prefix = false;
    }
    const auto status = processor_.LoadFromSerializedProto(serialize_sentencepiece_model(model));
    require(status.ok(), ErrorCode::kBadFile, "SentencePiece refuses the model: {}", status.ToString());
  }

  void encode(std::string_view section, bool first, EncodeScratch&,
              std::vector<int32_t>& out) const override {
    require(section.size() <= kMaxLibraryBytes, ErrorCode::kCapacity,
            "expected a text of at most {} bytes for SentencePiece, found {}; give it in smaller pieces",
            kMaxLibraryBytes, section.size());
    std::vector<int> ids;
    std::string prefixed;
    if (prefix_first_ && first) {
      prefixed = " ";
      prefixed.append(section);
      section = prefixed;
    }
    const auto status = processor_.Encode(section, &ids);
    require(status.ok(), ErrorCode::kBadFile, "SentencePiece cannot encode the text: {}", status.ToString());
    out.insert(out.end(), ids.begin(), ids.end());
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  bool prefix_first_ = false;
};

// SentencePiece's BPE without normalization rules: spaces become marks, user-defined pieces are cut out, and
// the characters of the rest are merged.
class MarkedBpeEncoder : public SectionEncoder {
 public:
  MarkedBpeEncoder(std::unique_ptr<const WordModel> model, const SentencePieceModel& spec, DummyPrefix prefix)
      : model_(std::move(model)), add_dummy_prefix_(spec.add_dummy_prefix), prefix_(prefix) {
    std::vector<AddedToken> words;
    for (size_t id = 0; id < spec.pieces.size(); ++id) {
      if (spec.pieces[id].type != PieceType::kUserDefined) continue;
      AddedToken& word = words.emplace_back();
      word.text = spec.pieces[id].text;
      word.id = static_cast<int32_t>(id);
    }
    user_defined_ = AddedTokenMatcher(std::move(words));
  }

  void encode(std::string_view section, bool first, EncodeScratch& scratch,
              std::vector<int32_t>& out) const override {
    std::string& marked = scratch.words.owned;
    marked.clear();
    marked.reserve(section.size() + section.size() / 2 + 4);
    if (add_dummy_prefix_ && (first || prefix_ == DummyPrefix::kEverySection)) marked.append(kSpaceMark);
    size_t done = 0;
    for (size_t at = section.find(' '); at != std::string_view::npos; at = section.find(' ', done)) {
      marked.append(section.substr(done, at - done)).append(kSpaceMark);
      done = at + 1;
    }
    marked.append(section.substr(done));
    require(marked.size() < std::numeric_limits<uint32_t>::max() / 2, ErrorCode::kCapacity,
            "expected a text of less than 2^31 bytes, found {}; give it in smaller pieces", marked.size());
    if (user_defined_.empty()) {
      model_->encode(marked, scratch, out);
      return;
    }
    for (const TextSection& part : user_defined_.split(marked, {})) {
      if (part.id >= 0)
        out.push_back(part.id);
      else
        model_->encode(std::string_view(marked).substr(part.begin, part.end - part.begin), scratch, out);
    }
  }

 private:
  std::unique_ptr<const WordModel> model_;
  AddedTokenMatcher user_defined_;
  bool add_dummy_prefix_;
  DummyPrefix prefix_;
};

// Ranks from scores: the highest score is the lowest rank, equal scores share one.
std::vector<uint32_t> ranks_of_scores(const SentencePieceModel& model) {
  std::vector<float> scores;
  scores.reserve(model.pieces.size());
  for (const auto& piece : model.pieces) scores.push_back(piece.score);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::vector<uint32_t> ranks;
  ranks.reserve(model.pieces.size());
  for (const auto& piece : model.pieces)
    ranks.push_back(static_cast<uint32_t>(
        std::lower_bound(scores.begin(), scores.end(), piece.score, std::greater<>()) - scores.begin()));
  return ranks;
}

// Starts of the characters of a valid text, without the first.
std::vector<size_t> inner_borders(std::string_view text) {
  std::vector<size_t> borders;
  for (size_t at = 1; at < text.size(); ++at)
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80) borders.push_back(at);
  return borders;
}

struct MergeRules {
  CharacterSymbols symbols;
  std::vector<BpeMerge> merges;
  std::vector<int32_t> made;
};

// SentencePiece merges any two neighbours whose joined text is a piece. Written as rules: every way to cut a
// piece in two parts that can occur as symbols, which are pieces and single characters.
MergeRules rules_of_pieces(const SentencePieceModel& model) {
  MergeRules rules;
  StringTable normal;
  normal.reserve(model.pieces.size());
  for (size_t id = 0; id < model.pieces.size(); ++id)
    if (model.pieces[id].type == PieceType::kNormal)
      normal.insert(model.pieces[id].text, static_cast<int32_t>(id));
  auto& symbols = rules.symbols;
  const auto limit = static_cast<int32_t>(model.pieces.size());
  for (const auto& piece : model.pieces) {
    if (piece.type != PieceType::kNormal) continue;
    for (size_t at = 0; at < piece.text.size();) {
      const Utf8Step step = read_valid_utf8(piece.text, at);
      const std::string_view character = std::string_view(piece.text).substr(at, step.bytes);
      at += step.bytes;
      const auto [entry, is_new] = symbols.ids.try_emplace(step.code, normal.find(character));
      if (!is_new || entry->second >= 0) continue;
      entry->second = limit + static_cast<int32_t>(symbols.beyond.size());
      symbols.beyond.emplace_back(character);
    }
  }
  const auto symbol_of = [&](std::string_view part) {
    const int32_t id = normal.find(part);
    if (id >= 0) return id;
    const Utf8Step step = read_valid_utf8(part, 0);
    return step.bytes == part.size() ? symbols.ids.at(step.code) : -1;
  };
  const auto ranks = ranks_of_scores(model);
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const std::string_view text = model.pieces[id].text;
    if (model.pieces[id].type != PieceType::kNormal) continue;
    const auto borders = inner_borders(text);
    if (!borders.empty()) rules.made.push_back(static_cast<int32_t>(id));
    for (const size_t border : borders) {
      const int32_t left = symbol_of(text.substr(0, border));
      const int32_t right = symbol_of(text.substr(border));
      if (left >= 0 && right >= 0) rules.merges.push_back({left, right, ranks[id], static_cast<int32_t>(id)});
    }
  }
  return rules;
}

}  // namespace

bool has_fast_encoder(const SentencePieceModel& model) {
  if (model.kind != SentencePieceModel::Kind::kBpe || !model.charsmap.empty() ||
      model.remove_extra_whitespaces || !model.escape_whitespaces || model.whitespace_as_suffix)
    return false;
  return std::none_of(model.pieces.begin(), model.pieces.end(),
                      [](const SentencePiece& piece) { return piece.type == PieceType::kUnused; });
}

std::unique_ptr<const SectionEncoder> make_library_encoder(const SentencePieceModel& model,
                                                           DummyPrefix prefix) {
  return std::make_unique<LibraryEncoder>(model, prefix);
}

std::unique_ptr<const SectionEncoder> make_sentencepiece_encoder(const SentencePieceModel& model,
                                                                 const Vocabulary& vocabulary,
                                                                 DummyPrefix prefix) {
  if (!has_fast_encoder(model)) return make_library_encoder(model, prefix);
  MergeRules rules = rules_of_pieces(model);
  BpeOptions options;
  options.unk = model.unk_id();
  options.fuse_unk = true;
  options.byte_ids = model.byte_ids();
  auto words = std::make_unique<CharBpe>(vocabulary, std::move(rules.symbols), rules.merges, rules.made,
                                         std::move(options), true);
  return std::make_unique<MarkedBpeEncoder>(std::move(words), model, prefix);
}

}  // namespace beacon
