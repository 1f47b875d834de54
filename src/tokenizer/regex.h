#pragma once
// Regular expressions of pre-tokenizers: written for Oniguruma, run by PCRE2 with its compiler (JIT).
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace beacon {

// What one thread needs to match; reusable for any Regex.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  struct State;
  std::unique_ptr<State> state_;
};

// A compiled pattern; const and shared by threads. Unicode throughout.
class Regex {
 public:
  // Throws kBadFile when the pattern does not compile, kUnsupported for syntax that means something else in
  // Oniguruma.
  explicit Regex(std::string_view pattern);

  // The first match in a valid UTF-8 text at or after byte `from`, as [begin, end). Throws kBadFile when the
  // pattern needs more steps or memory than the limits allow (a pattern that backtracks without end).
  std::optional<std::pair<size_t, size_t>> find(std::string_view text, size_t from,
                                                RegexScratch& scratch) const;

  const std::string& pattern() const { return pattern_; }

 private:
  std::string pattern_;
  std::shared_ptr<const void> code_;
};

// The same language in PCRE2's syntax: \s and \w differ in a few characters, some constructs are refused.
std::string oniguruma_to_pcre2(std::string_view pattern);

}  // namespace beacon
