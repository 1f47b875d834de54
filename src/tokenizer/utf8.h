#pragma once
// UTF-8: reading characters, finding and replacing what is ill-formed.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace beacon {

enum class Utf8Kind : uint8_t {
  kCharacter,   // `bytes` bytes spell `code`
  kInvalid,     // `bytes` bytes are the maximal part of an ill-formed sequence (at least one)
  kIncomplete,  // the text ends within a character that is well formed so far
};

struct Utf8Step {
  char32_t code = 0xFFFD;
  uint8_t bytes = 1;
  Utf8Kind kind = Utf8Kind::kInvalid;
};

// Reads what begins at text[at], which must exist. Well-formedness as in table 3-7 of the Unicode Standard.
Utf8Step read_utf8(std::string_view text, size_t at);

// The character that begins at text[at] of a text known to be valid.
inline Utf8Step read_valid_utf8(std::string_view text, size_t at) {
  const auto lead = static_cast<unsigned char>(text[at]);
  if (lead < 0x80) return {lead, 1, Utf8Kind::kCharacter};
  return read_utf8(text, at);
}

bool is_valid_utf8(std::string_view text);

// Each maximal ill-formed part becomes one U+FFFD: the result of Python's bytes.decode("utf-8",
// errors="replace").
std::string replace_invalid_utf8(std::string_view text);

// Appends a code point, which must be a scalar value.
void append_utf8(std::string& out, char32_t code);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

}  // namespace beacon
