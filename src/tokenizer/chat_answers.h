#pragma once
// Which tokens of a conversation the assistant said: what a trainer scores.
#include <beacon/chat.h>

#include <cstddef>
#include <vector>

namespace beacon {

// Tokens [begin, end) of a conversation.
struct AnswerTokens {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const AnswerTokens&) const = default;
};

struct ChatWithAnswers {
  std::vector<int32_t> ids;  // as encode_chat() without a generation prompt
  // One for each assistant message: its content and the template's token that ends it (if that is one of the
  // tokenizer's eos_ids). A token that holds both the template's text and the content counts as content.
  std::vector<AnswerTokens> answers;
};

// Throws as encode_chat() does.
ChatWithAnswers encode_chat_with_answers(const Tokenizer& tokenizer, std::string_view name,
                                         std::span<const ChatMessage> messages);

}  // namespace beacon
