#include "tokenizer/json_fields.h"

#include "base/check.h"

namespace beacon {

JsonFields::JsonFields(const Json& object, std::string where) : object_(&object), where_(std::move(where)) {
  require(object.is_object(), ErrorCode::kBadFile, "{}: expected a JSON object, found {}", where_,
          object.type_name());
}

void JsonFields::refuse(std::string_view expected, std::string_view key) const {
  const auto entry = object_->find(std::string(key));
  fail(ErrorCode::kBadFile, "{}: expected {} under '{}', found {}", where_, expected, key,
       entry == object_->end() ? "nothing" : entry->type_name());
}

const Json* JsonFields::find(const char* key) const {
  const auto entry = object_->find(key);
  return entry == object_->end() || entry->is_null() ? nullptr : &*entry;
}

const Json& JsonFields::at(const char* key) const {
  const Json* value = find(key);
  if (value == nullptr) refuse("a value", key);
  return *value;
}

std::string JsonFields::string(const char* key) const {
  const Json& value = at(key);
  if (!value.is_string()) refuse("a string", key);
  return value.get<std::string>();
}

std::string JsonFields::string(const char* key, std::string_view absent) const {
  return find(key) == nullptr ? std::string(absent) : string(key);
}

bool JsonFields::boolean(const char* key, bool absent) const {
  const Json* value = find(key);
  if (value == nullptr) return absent;
  if (!value->is_boolean()) refuse("true or false", key);
  return value->get<bool>();
}

int64_t JsonFields::integer(const char* key) const {
  const Json& value = at(key);
  if (!value.is_number_integer()) refuse("an integer", key);
  if (value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
    refuse("an integer of 64 bits", key);
  return value.get<int64_t>();
}

int64_t JsonFields::integer(const char* key, int64_t absent) const {
  return find(key) == nullptr ? absent : integer(key);
}

const Json& JsonFields::array(const char* key) const {
  const Json& value = at(key);
  if (!value.is_array()) refuse("an array", key);
  return value;
}

JsonFields JsonFields::object(const char* key) const {
  const Json& value = at(key);
  if (!value.is_object()) refuse("an object", key);
  return JsonFields(value, where_ + ": " + key);
}

Json parse_json(std::string_view text, const std::string& what) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    std::string reason = error.what();
    for (char& c : reason)
      if (static_cast<unsigned char>(c) < ' ') c = ' ';
    fail(ErrorCode::kBadFile, "{}: expected JSON, found: {}", what, reason.substr(0, 160));
  }
  require(json.is_object(), ErrorCode::kBadFile, "{}: expected a JSON object, found {}", what,
          json.type_name());
  return json;
}

}  // namespace beacon
