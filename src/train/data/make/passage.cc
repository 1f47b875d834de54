#include "train/data/make/passage.h"

#include <algorithm>

#include "base/check.h"

namespace beacon::train {
namespace {

// More than English prose has, so that a passage seldom meets the end of its book.
constexpr int64_t kBytesPerToken = 5;

}  // namespace

std::string Passage::text() const {
  std::string out;
  for (const Sentence& sentence : sentences) out += sentence.gap + sentence.text;
  return out;
}

int64_t count_tokens(const Tokenizer& tokenizer, std::string_view text) {
  return static_cast<int64_t>(tokenizer.encode(text, {.add_special = false}).size());
}

Passage draw_passage(const Library& library, const Tokenizer& tokenizer, int64_t tokens, Random& random) {
  require(tokens >= 1, ErrorCode::kInvalidArgument,
          "a passage of {} tokens cannot be made; make longer samples", tokens);
  const Library::Place place = library.draw(static_cast<size_t>(tokens * kBytesPerToken), random);
  const std::string_view text = library.books()[place.book].text();
  Passage passage;
  passage.book = library.books()[place.book].name;
  int64_t used = 0;
  size_t at = place.offset;
  for (SentenceSpan span = next_sentence(text, at); span.begin < span.end; span = next_sentence(text, at)) {
    const std::string gap(passage.sentences.empty() ? std::string_view() : text.substr(at, span.begin - at));
    const std::string sentence(text.substr(span.begin, span.end - span.begin));
    used += count_tokens(tokenizer, gap + sentence);
    if (used > tokens && !passage.sentences.empty()) break;
    passage.sentences.push_back({sentence, gap});
    at = span.end;
    if (used > tokens) break;
  }
  require(!passage.sentences.empty(), ErrorCode::kInvalidArgument,
          "{} ends in white space alone; leave it out", passage.book);
  return passage;
}

std::string plant(const Passage& passage, const std::vector<std::string>& planted,
                  std::optional<size_t> closed, Random& random) {
  std::vector<size_t> places;  // before which sentence
  while (places.size() < planted.size()) {
    const size_t place = random.below(passage.sentences.size() + 1);
    if (!closed || place != *closed + 1) places.push_back(place);
  }
  std::sort(places.begin(), places.end());
  std::string out;
  size_t next = 0;
  for (size_t s = 0; s <= passage.sentences.size(); ++s) {
    bool new_paragraph = false;
    while (next < planted.size() && places[next] == s) {
      new_paragraph = random.below(2) == 0 || planted[next].find('\n') != std::string::npos;
      if (!out.empty()) out += new_paragraph ? "\n\n" : " ";
      out += planted[next++];
    }
    if (s == passage.sentences.size()) break;
    const Passage::Sentence& sentence = passage.sentences[s];
    const bool after_planted = next > 0 && places[next - 1] == s;
    if (after_planted)
      out += new_paragraph ? "\n\n" : " ";
    else
      out += sentence.gap;
    out += sentence.text;
  }
  return out;
}

}  // namespace beacon::train
