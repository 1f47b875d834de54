#pragma once
// Files with a JSON object on every line.
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "io/json_reader.h"

namespace beacon {

// A line that is not empty, and what was found in it.
struct JsonLine {
  int64_t number = 0;            // from 1
  uint64_t bytes_before = 0;     // of the text, before this line
  const Json* object = nullptr;  // null when the line is broken
  std::string error;             // then: what is wrong with it, without file and line
};

// Longest line that is read; a longer one is broken.
inline constexpr size_t kMaxJsonLine = 64u << 20;

// Calls `on_line` for every line in order, broken ones included, until it returns false. Lines end in LF or
// CR LF; white space alone is no line; a byte-order mark at the start is skipped. A line is broken when it is
// not one JSON object, repeats a key, is nested deeper than 16 levels, or is not UTF-8. Bytes are hostile;
// nothing is thrown for them.
void for_each_json_line(std::string_view text, const std::function<bool(const JsonLine&)>& on_line);

}  // namespace beacon
