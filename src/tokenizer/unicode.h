#pragma once
// Properties and normal forms of Unicode text, through utf8proc.
#include <string>
#include <string_view>

namespace beacon {

// White_Space property, as Rust's and Oniguruma's \s.
bool is_unicode_space(char32_t code);

// What Rust's regex calls \w: alphabetic, marks, decimal digits, connectors, joiners.
bool is_unicode_word(char32_t code);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// The normal form of a valid UTF-8 text. Time is linear up to the sorting of runs of marks, whatever the text
// holds.
std::string normalize_unicode(std::string_view text, NormalForm form);

// Without the white space at both ends, as Python's str.strip().
std::string_view strip_python(std::string_view text);

}  // namespace beacon
