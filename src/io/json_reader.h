#pragma once
// Reading JSON that comes from outside; internal to io.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"

namespace beacon {

using Json = nlohmann::json;
// Keeps the order of keys, so that configurations can be written back as they were; slow for many keys.
using OrderedJson = nlohmann::ordered_json;

struct JsonLimits {
  int max_depth = 16;
  size_t max_values = 2'000'000;
  size_t max_bytes = 64u << 20;
};

// Parses an object. Throws kBadFile naming `what` when the text is not JSON, not an object, nested too deep,
// too large, or repeats a key within an object.
Json parse_json_object(std::string_view text, const std::string& what, const JsonLimits& limits = {});
OrderedJson parse_ordered_json_object(std::string_view text, const std::string& what);

// One line for messages, cut after 60 characters.
std::string json_snippet(const Json& value);

// Typed access to the keys of one object. An absent key and null are the same; every other kind of value than
// the one asked for throws kBadFile naming file, key, expected and found.
class JsonReader {
 public:
  JsonReader(const Json& object, std::string what) : object_(object), what_(std::move(what)) {}

  bool has(const std::string& key) const { return value(key) != nullptr; }
  // Whether the key is there, be it null.
  bool mentions(const std::string& key) const { return object_.contains(key); }
  const Json* value(const std::string& key) const;
  // Within [low, high]; 3.0 is taken for 3.
  std::optional<int64_t> integer(const std::string& key, int64_t low, int64_t high) const;
  // Within [low, high], finite.
  std::optional<double> number(const std::string& key, double low, double high) const;
  std::optional<bool> boolean(const std::string& key) const;
  std::optional<std::string> string(const std::string& key) const;
  // A list of integers, or one integer as a list of one.
  std::optional<std::vector<int64_t>> integers(const std::string& key, int64_t low, int64_t high) const;
  std::optional<std::vector<std::string>> strings(const std::string& key) const;

  int64_t required_integer(const std::string& key, int64_t low, int64_t high) const;
  [[noreturn]] void wrong(const std::string& key, const std::string& expected) const;
  const std::string& what() const { return what_; }

 private:
  int64_t checked_integer(const Json& v, const std::string& key, int64_t low, int64_t high) const;
  const Json& object_;
  std::string what_;
};

}  // namespace beacon
