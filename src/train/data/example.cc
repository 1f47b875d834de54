#include "train/data/example.h"

namespace beacon::train {
namespace {

constexpr size_t kMaxTurns = 4096;

std::string filled(const JsonReader& reader, const std::string& key) {
  auto text = reader.string(key);
  if (!text || text->empty()) reader.wrong(key, "a string that is not empty");
  return std::move(*text);
}

std::vector<ChatMessage> parse_messages(const JsonReader& reader) {
  constexpr const char* kKey = "conversations";
  const Json* list = reader.value(kKey);
  if (!list->is_array() || list->empty() || list->size() > kMaxTurns)
    reader.wrong(kKey, fmt::format("a list of 1 to {} turns", kMaxTurns));
  std::vector<ChatMessage> messages;
  bool answered = false;
  for (const Json& item : *list) {
    const std::string where = fmt::format("{}: turn {}", reader.what(), messages.size() + 1);
    require(item.is_object(), ErrorCode::kBadFile, "{}: expected an object, found {}", where,
            json_snippet(item));
    const JsonReader turn(item, where);
    auto role = turn.string("role");
    if (role != "system" && role != "user" && role != "assistant")
      turn.wrong("role", "system, user or assistant");
    auto content = turn.string("content");
    if (!content) turn.wrong("content", "a string");
    const bool answer = *role == "assistant";
    if (answer && content->empty()) turn.wrong("content", "an answer that is not empty");
    answered = answered || answer;
    messages.push_back({std::move(*role), std::move(*content)});
  }
  require(answered, ErrorCode::kBadFile, "{}: expected a turn of the assistant, found none", reader.what());
  return messages;
}

}  // namespace

Example parse_example(const Json& object, const std::string& what) {
  const JsonReader reader(object, what);
  const bool text = reader.has("text");
  const bool conversation = reader.has("conversations");
  const bool pair = reader.has("input") || reader.has("output");
  require(int{text} + int{conversation} + int{pair} == 1, ErrorCode::kBadFile,
          "{}: expected one of \"text\", \"conversations\" and \"input\" with \"output\", found {}", what,
          text || conversation || pair ? "several" : "none");
  Example example;
  if (text) {
    example.text = filled(reader, "text");
  } else if (conversation) {
    example.kind = ExampleKind::kConversation;
    example.messages = parse_messages(reader);
  } else {
    example.kind = ExampleKind::kPair;
    example.input = filled(reader, "input");
    example.output = filled(reader, "output");
  }
  return example;
}

}  // namespace beacon::train
