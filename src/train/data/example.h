#pragma once
// What one line of a data file asks a model to learn, before it becomes tokens.
#include <beacon/chat.h>

#include <string>
#include <vector>

#include "io/json_reader.h"

namespace beacon::train {

enum class ExampleKind : uint8_t {
  kText,          // every token is learnt
  kConversation,  // what the assistant says is learnt
  kPair,          // the output is learnt, the input is only read; no template
};

struct Example {
  ExampleKind kind = ExampleKind::kText;
  std::string text;                   // kText
  std::vector<ChatMessage> messages;  // kConversation
  std::string input, output;          // kPair
};

// Reads {"text": ..}, {"conversations": [{"role": .., "content": ..}, ..]} or {"input": .., "output": ..};
// other keys are left alone. Throws kBadFile, beginning with `what`, when it is none or several of these, a
// value has the wrong type, a text or answer is empty, a role is unknown, or nobody answers.
Example parse_example(const Json& object, const std::string& what);

}  // namespace beacon::train
