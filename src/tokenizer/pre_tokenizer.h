#pragma once
// Cutting a text into the words within which the model merges.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/regex.h"

namespace beacon {

// A word: bytes [begin, end) of the text.
struct WordSpan {
  uint32_t begin = 0;
  uint32_t end = 0;
};

// What happens to the matches of a Split.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

// When Metaspace puts its mark before a word that has none.
enum class PrependScheme { kAlways, kFirst, kNever };

// Stages in order; const after it is built, shared by threads.
class PreTokenizer {
 public:
  void add_split(Regex pattern, SplitBehavior behavior, bool invert);
  void add_split(std::string literal, SplitBehavior behavior, bool invert);
  void add_digits(bool individual);
  // GPT-2's words. The mapping of bytes to characters is left to the vocabulary, so this stage must be the
  // last.
  void add_byte_level(bool use_regex, bool add_prefix_space);
  void add_metaspace(std::string mark, PrependScheme scheme, bool split);

  bool empty() const { return stages_.empty(); }
  bool byte_level() const { return byte_level_; }

  // A text and its words. `view` is either the text given or `owned`, where a stage had to change it.
  struct Words {
    std::string owned;
    std::string_view view;
    std::vector<WordSpan> spans;
  };
  // Words of a valid UTF-8 text of less than 2^31 bytes; `first` says that the text begins the whole input.
  void run(std::string_view text, bool first, RegexScratch& scratch, Words& words) const;

  static constexpr std::string_view kGpt2Pattern =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

 private:
  struct Split {
    std::optional<Regex> regex;
    std::string literal;
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
  };
  struct Prefix {
    std::string mark;     // written before words
    bool replace_spaces;  // Metaspace: every space becomes the mark
    PrependScheme scheme;
  };
  struct Stage {
    std::optional<Split> split;
    std::optional<Prefix> prefix;
  };
  void push(Stage stage);
  static void apply_split(const Split& split, RegexScratch& scratch, Words& words);
  static void apply_prefix(const Prefix& prefix, bool first, Words& words);

  std::vector<Stage> stages_;
  bool byte_level_ = false;
};

}  // namespace beacon
