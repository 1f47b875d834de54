#include "io/json_lines.h"

#include <optional>

namespace beacon {
namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string_view trimmed(std::string_view line) {
  const size_t first = line.find_first_not_of(" \t\r");
  if (first == line.npos) return {};
  return line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
}

// The caller names file and line, so parse under an empty name and take its separator off again.
std::string without_prefix(const std::string& message) {
  return message.rfind(": ", 0) == 0 ? message.substr(2) : message;
}

}  // namespace

void for_each_json_line(std::string_view text, const std::function<bool(const JsonLine&)>& on_line) {
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) text.remove_prefix(kByteOrderMark.size());
  JsonLimits limits;
  limits.max_bytes = kMaxJsonLine;
  const size_t size = text.size();
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    const uint64_t bytes_before = size - text.size();
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    ++number;
    if (line.empty()) continue;
    JsonLine found;
    found.number = number;
    found.bytes_before = bytes_before;
    std::optional<Json> object;
    try {
      object = parse_json_object(line, "", limits);
      found.object = &*object;
    } catch (const Error& error) {
      found.error = without_prefix(error.what());
    }
    if (!on_line(found)) return;
  }
}

}  // namespace beacon
