#pragma once
// What is done to a text before it is cut into words.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/regex.h"
#include "tokenizer/unicode.h"

namespace beacon {

// Steps in order; const after it is built. Works on valid UTF-8 only.
class Normalizer {
 public:
  void add_form(NormalForm form);
  void add_prepend(std::string text);
  void add_replace(std::string what, std::string with);
  void add_replace(Regex what, std::string with);

  bool is_identity() const { return steps_.empty(); }
  std::string apply(std::string_view text) const;

 private:
  struct Step {
    std::optional<NormalForm> form;
    std::optional<Regex> regex;
    std::string what;  // empty: prepend `with`
    std::string with;
  };
  void check_growth(std::string_view with) const;
  std::vector<Step> steps_;
};

}  // namespace beacon
