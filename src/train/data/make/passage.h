#pragma once
// Real prose of a given length, and things hidden in it.
#include <beacon/tokenizer.h>

#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "train/data/make/library.h"

namespace beacon::train {

// Sentences of one book, in order.
struct Passage {
  std::string book;
  struct Sentence {
    std::string text;
    std::string gap;  // white space before it in the book; empty for the first
  };
  std::vector<Sentence> sentences;

  std::string text() const;
};

// Tokens of a text by itself.
int64_t count_tokens(const Tokenizer& tokenizer, std::string_view text);

// Whole sentences from a random place, as many as fit into `tokens` tokens; at least one.
Passage draw_passage(const Library& library, const Tokenizer& tokenizer, int64_t tokens, Random& random);

// The passage with each of `planted` between two of its sentences (or before the first, or after the last),
// at places that are drawn independently and keep their order; in a paragraph of its own or within one.
// Nothing comes right behind sentence `closed`.
std::string plant(const Passage& passage, const std::vector<std::string>& planted,
                  std::optional<size_t> closed, Random& random);

}  // namespace beacon::train
