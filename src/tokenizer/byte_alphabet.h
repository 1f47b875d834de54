#pragma once
// The alphabet of byte-level vocabularies (GPT-2): each byte is written as one printable character.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace beacon {

// The character that stands for a byte: the byte itself where it is printable in Latin-1, else U+0100
// upwards.
char32_t byte_to_character(uint8_t byte);

// The bytes that a token spells; nothing when it has a character outside the alphabet (an added token, say).
std::optional<std::string> bytes_of_token(std::string_view token);

}  // namespace beacon
