#include "tokenizer/pre_tokenizer.h"

#include <tuple>

#include "base/check.h"

namespace beacon {
namespace {

constexpr size_t kMaxStages = 16;
constexpr size_t kMaxMarkBytes = 16;
constexpr size_t kMaxTextBytes = size_t{1} << 31;

struct Piece {
  uint32_t begin;
  uint32_t end;
  bool match;
};

// Joins pieces as the behavior asks. `out` receives the non-empty words.
class PieceJoiner {
 public:
  PieceJoiner(SplitBehavior behavior, std::vector<WordSpan>& out) : behavior_(behavior), out_(out) {}

  void add(const Piece& piece) {
    switch (behavior_) {
      case SplitBehavior::kIsolated:
        flush(piece.begin, piece.end);
        break;
      case SplitBehavior::kRemoved:
        if (!piece.match) flush(piece.begin, piece.end);
        break;
      case SplitBehavior::kMergedWithPrevious:
        extend_if(piece.match && !previous_match_, piece);
        break;
      case SplitBehavior::kMergedWithNext:
        extend_if(previous_match_ && !piece.match, piece);
        break;
      case SplitBehavior::kContiguous:
        extend_if(piece.match == previous_match_, piece);
        break;
    }
    previous_match_ = piece.match;
  }
  void finish() {
    if (open_) flush(begin_, end_);
    open_ = false;
  }

 private:
  void flush(uint32_t begin, uint32_t end) {
    if (begin < end) out_.push_back({begin, end});
  }
  void extend_if(bool joins, const Piece& piece) {
    if (open_ && joins) {
      end_ = piece.end;
      return;
    }
    finish();
    begin_ = piece.begin;
    end_ = piece.end;
    open_ = true;
  }

  SplitBehavior behavior_;
  std::vector<WordSpan>& out_;
  bool open_ = false;
  bool previous_match_ = false;
  uint32_t begin_ = 0;
  uint32_t end_ = 0;
};

}  // namespace

void PreTokenizer::push(Stage stage) {
  require(!byte_level_, ErrorCode::kUnsupported,
          "expected ByteLevel to be the last of the pre-tokenizers, found another one after it");
  require(stages_.size() < kMaxStages, ErrorCode::kUnsupported,
          "expected at most {} pre-tokenizers, found more", kMaxStages);
  stages_.push_back(std::move(stage));
}

void PreTokenizer::add_split(Regex pattern, SplitBehavior behavior, bool invert) {
  push({Split{std::move(pattern), {}, behavior, invert}, std::nullopt});
}

void PreTokenizer::add_split(std::string literal, SplitBehavior behavior, bool invert) {
  require(!literal.empty(), ErrorCode::kBadFile, "expected a Split with a pattern, found an empty one");
  push({Split{std::nullopt, std::move(literal), behavior, invert}, std::nullopt});
}

void PreTokenizer::add_digits(bool individual) {
  add_split(Regex("\\p{N}"), individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous, false);
}

void PreTokenizer::add_byte_level(bool use_regex, bool add_prefix_space) {
  if (add_prefix_space) push({std::nullopt, Prefix{" ", false, PrependScheme::kAlways}});
  if (use_regex) add_split(Regex(kGpt2Pattern), SplitBehavior::kIsolated, false);
  require(!byte_level_, ErrorCode::kUnsupported, "expected one ByteLevel pre-tokenizer, found two");
  byte_level_ = true;
}

void PreTokenizer::add_metaspace(std::string mark, PrependScheme scheme, bool split) {
  require(!mark.empty() && mark.size() <= kMaxMarkBytes, ErrorCode::kBadFile,
          "expected a Metaspace replacement of 1 to {} bytes, found {}", kMaxMarkBytes, mark.size());
  push({std::nullopt, Prefix{mark, true, scheme}});
  if (split) add_split(std::move(mark), SplitBehavior::kMergedWithNext, false);
}

void PreTokenizer::run(std::string_view text, bool first, RegexScratch& scratch, Words& words) const {
  require(text.size() < kMaxTextBytes, ErrorCode::kCapacity,
          "expected a text of less than {} bytes, found {}; give it in smaller pieces", kMaxTextBytes,
          text.size());
  words.view = text;
  words.spans.clear();
  if (!text.empty()) words.spans.push_back({0, static_cast<uint32_t>(text.size())});
  for (const Stage& stage : stages_) {
    if (stage.split) apply_split(*stage.split, scratch, words);
    if (stage.prefix) apply_prefix(*stage.prefix, first, words);
  }
}

void PreTokenizer::apply_split(const Split& split, RegexScratch& scratch, Words& words) {
  std::vector<WordSpan> out;
  out.reserve(words.spans.size() == 1 ? words.view.size() / 4 + 1 : words.spans.size() * 2);
  for (const WordSpan span : words.spans) {
    const std::string_view word = words.view.substr(span.begin, span.end - span.begin);
    PieceJoiner joiner(split.behavior, out);
    const auto add = [&](size_t begin, size_t end, bool match) {
      joiner.add({span.begin + static_cast<uint32_t>(begin), span.begin + static_cast<uint32_t>(end),
                  match != split.invert});
    };
    size_t done = 0;
    for (size_t from = 0; from < word.size();) {
      size_t begin = 0;
      size_t end = 0;
      if (split.regex) {
        const auto match = split.regex->find(word, from, scratch);
        if (!match) break;
        std::tie(begin, end) = *match;
      } else {
        begin = word.find(split.literal, from);
        if (begin == std::string_view::npos) break;
        end = begin + split.literal.size();
      }
      if (begin == end) {
        // An empty match cuts nothing; look again one character further.
        from = end + 1;
        while (from < word.size() && (static_cast<unsigned char>(word[from]) & 0xC0) == 0x80) ++from;
        continue;
      }
      if (done < begin) add(done, begin, false);
      add(begin, end, true);
      done = from = end;
    }
    if (done < word.size()) add(done, word.size(), false);
    joiner.finish();
  }
  words.spans = std::move(out);
}

void PreTokenizer::apply_prefix(const Prefix& prefix, bool first, Words& words) {
  std::string out;
  out.reserve(words.view.size() + words.view.size() / 2 + 16);
  std::vector<WordSpan> spans;
  spans.reserve(words.spans.size());
  for (const WordSpan span : words.spans) {
    const std::string_view word = words.view.substr(span.begin, span.end - span.begin);
    const size_t begin = out.size();
    const bool has_mark = word.starts_with(prefix.mark) || (prefix.replace_spaces && word.starts_with(' '));
    const bool wanted = prefix.scheme == PrependScheme::kAlways ||
                        (prefix.scheme == PrependScheme::kFirst && first && span.begin == 0);
    if (wanted && !has_mark) out.append(prefix.mark);
    if (prefix.replace_spaces) {
      for (const char c : word) c == ' ' ? out.append(prefix.mark) : out.append(1, c);
    } else {
      out.append(word);
    }
    require(out.size() < kMaxTextBytes, ErrorCode::kCapacity,
            "the pre-tokenizer made more than {} bytes of the text; give it in smaller pieces",
            kMaxTextBytes);
    spans.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(out.size())});
  }
  words.owned = std::move(out);
  words.view = words.owned;
  words.spans = std::move(spans);
}

}  // namespace beacon
