#pragma once
// Typed access to the members of JSON objects from outside; every surprise throws kBadFile naming the place.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace beacon {

using Json = nlohmann::json;

// One object of a file; refers to the JSON, which must outlive it.
class JsonFields {
 public:
  // `where` names the place for messages ("tokenizer.json: model").
  JsonFields(const Json& object, std::string where);

  const std::string& where() const { return where_; }
  const Json& json() const { return *object_; }
  // The member, or nullptr when it is absent or null.
  const Json* find(const char* key) const;
  const Json& at(const char* key) const;
  std::string string(const char* key) const;
  std::string string(const char* key, std::string_view absent) const;
  bool boolean(const char* key, bool absent) const;
  int64_t integer(const char* key) const;
  int64_t integer(const char* key, int64_t absent) const;
  const Json& array(const char* key) const;
  JsonFields object(const char* key) const;
  [[noreturn]] void refuse(std::string_view expected, std::string_view key) const;

 private:
  const Json* object_;
  std::string where_;
};

// A whole file. Throws kBadFile when the text is not JSON or not an object.
Json parse_json(std::string_view text, const std::string& what);

}  // namespace beacon
