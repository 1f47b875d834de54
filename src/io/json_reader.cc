#include "io/json_reader.h"

#include <cmath>
#include <set>

namespace beacon {
namespace {

// Watches the parser: nothing deep, huge or ambiguous gets built.
template <typename J>
class Guard {
 public:
  Guard(const std::string& what, const JsonLimits& limits) : what_(what), limits_(limits) {}

  bool operator()(int depth, typename J::parse_event_t event, J& parsed) {
    using Event = typename J::parse_event_t;
    if (event == Event::object_start || event == Event::array_start) {
      require(depth < limits_.max_depth, ErrorCode::kBadFile, "{}: JSON is nested deeper than {} levels",
              what_, limits_.max_depth);
    }
    require(++values_ <= limits_.max_values, ErrorCode::kBadFile, "{}: JSON holds more than {} values", what_,
            limits_.max_values);
    if (event == Event::object_start) open_.emplace_back();
    if (event == Event::object_end) open_.pop_back();
    if (event == Event::key) {
      const auto& key = parsed.template get_ref<const std::string&>();
      require(open_.back().insert(key).second, ErrorCode::kBadFile, "{}: the key \"{}\" comes twice", what_,
              key.substr(0, 60));
    }
    return true;
  }

 private:
  const std::string& what_;
  const JsonLimits& limits_;
  size_t values_ = 0;
  std::vector<std::set<std::string>> open_;
};

template <typename J>
J parse_object(std::string_view text, const std::string& what, const JsonLimits& limits) {
  require(text.size() <= limits.max_bytes, ErrorCode::kBadFile,
          "{}: expected at most {} bytes of JSON, found {}", what, limits.max_bytes, text.size());
  Guard<J> guard(what, limits);
  J value;
  try {
    value = J::parse(text.begin(), text.end(),
                     [&guard](int depth, typename J::parse_event_t e, J& v) { return guard(depth, e, v); });
  } catch (const typename J::parse_error& error) {
    fail(ErrorCode::kBadFile, "{}: not valid JSON (at byte {} of {})", what, error.byte, text.size());
  } catch (const typename J::exception& error) {
    fail(ErrorCode::kBadFile, "{}: not valid JSON ({})", what, error.what());
  }
  require(value.is_object(), ErrorCode::kBadFile, "{}: expected a JSON object, found {}", what,
          value.type_name());
  return value;
}

}  // namespace

Json parse_json_object(std::string_view text, const std::string& what, const JsonLimits& limits) {
  return parse_object<Json>(text, what, limits);
}

OrderedJson parse_ordered_json_object(std::string_view text, const std::string& what) {
  // Inserting a key looks at all keys of its object, so their number is kept small.
  return parse_object<OrderedJson>(text, what, {.max_values = 20'000});
}

std::string json_snippet(const Json& value) {
  constexpr size_t kLimit = 60;
  if (value.is_structured() && value.size() > 16) {
    return fmt::format("{} of {} values", value.is_array() ? "a list" : "an object", value.size());
  }
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kLimit) text = text.substr(0, kLimit) + "...";
  return text;
}

const Json* JsonReader::value(const std::string& key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

void JsonReader::wrong(const std::string& key, const std::string& expected) const {
  const Json* v = value(key);
  fail(ErrorCode::kBadFile, "{}: \"{}\" should be {}, found {}", what_, key, expected,
       v != nullptr ? json_snippet(*v) : std::string("nothing"));
}

int64_t JsonReader::checked_integer(const Json& v, const std::string& key, int64_t low, int64_t high) const {
  const auto expected = [&] { return fmt::format("an integer from {} to {}", low, high); };
  int64_t n = 0;
  if (v.is_number_unsigned()) {
    if (v.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) wrong(key, expected());
    n = static_cast<int64_t>(v.get<uint64_t>());
  } else if (v.is_number_integer()) {
    n = v.get<int64_t>();
  } else if (v.is_number_float() && std::nearbyint(v.get<double>()) == v.get<double>() &&
             std::fabs(v.get<double>()) < 9e15) {
    n = static_cast<int64_t>(v.get<double>());
  } else {
    wrong(key, expected());
  }
  if (n < low || n > high) wrong(key, expected());
  return n;
}

std::optional<int64_t> JsonReader::integer(const std::string& key, int64_t low, int64_t high) const {
  const Json* v = value(key);
  if (v == nullptr) return std::nullopt;
  return checked_integer(*v, key, low, high);
}

std::optional<double> JsonReader::number(const std::string& key, double low, double high) const {
  const Json* v = value(key);
  if (v == nullptr) return std::nullopt;
  // The comparison is written so that NaN fails it.
  if (!v->is_number() || !(v->get<double>() >= low && v->get<double>() <= high)) {
    wrong(key, fmt::format("a number from {} to {}", low, high));
  }
  return v->get<double>();
}

std::optional<bool> JsonReader::boolean(const std::string& key) const {
  const Json* v = value(key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_boolean()) wrong(key, "true or false");
  return v->get<bool>();
}

std::optional<std::string> JsonReader::string(const std::string& key) const {
  const Json* v = value(key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_string()) wrong(key, "a string");
  return v->get<std::string>();
}

std::optional<std::vector<int64_t>> JsonReader::integers(const std::string& key, int64_t low,
                                                         int64_t high) const {
  const Json* v = value(key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_array()) return std::vector<int64_t>{checked_integer(*v, key, low, high)};
  std::vector<int64_t> list;
  for (const Json& item : *v) list.push_back(checked_integer(item, key, low, high));
  return list;
}

std::optional<std::vector<std::string>> JsonReader::strings(const std::string& key) const {
  const Json* v = value(key);
  if (v == nullptr) return std::nullopt;
  if (!v->is_array()) wrong(key, "a list of strings");
  std::vector<std::string> list;
  for (const Json& item : *v) {
    if (!item.is_string()) wrong(key, "a list of strings");
    list.push_back(item.get<std::string>());
  }
  return list;
}

int64_t JsonReader::required_integer(const std::string& key, int64_t low, int64_t high) const {
  if (!has(key)) wrong(key, fmt::format("an integer from {} to {}", low, high));
  return *integer(key, low, high);
}

}  // namespace beacon
