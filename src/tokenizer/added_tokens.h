#pragma once
// Tokens that are cut out of a text before anything else looks at it: special tokens, and words added later.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace beacon {

struct AddedToken {
  std::string text;
  int32_t id = -1;
  bool special = false;      // read only where special tokens are allowed
  bool single_word = false;  // only where no word character touches it
  bool strip_left = false;   // takes the white space before it along
  bool strip_right = false;
  bool normalized = true;  // looked for in the normalized text
};

// Ranges of a text in which special tokens are read. Sorted, apart from each other.
struct TrustedRanges {
  bool all = false;
  std::vector<std::pair<size_t, size_t>> ranges;
  bool covers(size_t begin, size_t end) const;
};

// A part of a text: an added token, or what lies between two of them (id -1).
struct TextSection {
  size_t begin = 0;
  size_t end = 0;
  int32_t id = -1;
};

// Finds the leftmost and, of these, the longest added token, again and again. Const after construction. The
// time is that of one pass, times the length of the longest added token at worst.
class AddedTokenMatcher {
 public:
  AddedTokenMatcher() = default;
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  std::vector<TextSection> split(std::string_view text, const TrustedRanges& trusted) const;

 private:
  struct Match {
    size_t end = 0;
    int32_t token = -1;
  };
  Match match_at(std::string_view text, size_t at) const;
  bool accepts(const AddedToken& token, std::string_view text, size_t begin, size_t end,
               const TrustedRanges& trusted) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<uint64_t, uint32_t> edges_;  // node << 8 | byte -> node
  std::vector<int32_t> token_of_node_;            // -1 where no token ends
  bool begins_token_[256] = {};
};

}  // namespace beacon
