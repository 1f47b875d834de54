// Which tokens of a conversation count as the assistant's, for every template we know.
#include "tokenizer/chat_answers.h"

#include <gtest/gtest.h>

#include "tokenizer/fixtures.h"

namespace beacon::test {
namespace {

std::string trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \n");
  return first == text.npos ? std::string() : text.substr(first, text.find_last_not_of(" \n") - first + 1);
}

std::vector<int32_t> slice(const ChatWithAnswers& chat, const AnswerTokens& answer) {
  return {chat.ids.begin() + static_cast<ptrdiff_t>(answer.begin),
          chat.ids.begin() + static_cast<ptrdiff_t>(answer.end)};
}

TEST(ChatAnswers, AreWhatTheAssistantSaid) {
  int answers = 0;
  for (const Json& entry : read_json("chat.json")) {
    const auto name = entry.at("name").get<std::string>();
    const auto tokenizer =
        Tokenizer::load(tokenizer_data(entry.at("tokenizer").get<std::string>() + ".tokenizer.json"));
    for (const Json& conversation : entry.at("conversations")) {
      SCOPED_TRACE(name + " " + conversation.at("messages").dump());
      std::vector<ChatMessage> messages;
      for (const Json& m : conversation.at("messages")) messages.push_back({m.at("role"), m.at("content")});
      const ChatWithAnswers chat = encode_chat_with_answers(*tokenizer, name, messages);
      EXPECT_EQ(chat.ids, encode_chat(*tokenizer, name, messages, false));
      size_t next = 0, end = 0;
      for (const ChatMessage& message : messages) {
        if (message.role != "assistant") continue;
        ASSERT_LT(next, chat.answers.size());
        const AnswerTokens& answer = chat.answers[next++];
        EXPECT_GE(answer.begin, end);
        end = answer.end;
        // Without the token that ends the turn, which not all of these tokenizers know.
        EXPECT_EQ(trimmed(tokenizer->decode(slice(chat, answer), /*skip_special=*/true)),
                  trimmed(message.content));
        ++answers;
      }
      EXPECT_EQ(next, chat.answers.size());
    }
  }
  EXPECT_GT(answers, 50);
}

TEST(ChatAnswers, EndWithTheMarkOfTheTurn) {
  const auto tokenizer = Tokenizer::load(tokenizer_data("smollm.gguf"));
  const std::vector<ChatMessage> messages = {
      {"user", "One two<|im_end|>"}, {"assistant", "three"}, {"user", "four"}, {"assistant", "five six"}};
  const ChatWithAnswers chat = encode_chat_with_answers(*tokenizer, "chatml", messages);
  ASSERT_EQ(chat.answers.size(), 2u);
  EXPECT_EQ(tokenizer->decode(slice(chat, chat.answers[0])), "three<|im_end|>");
  EXPECT_EQ(tokenizer->decode(slice(chat, chat.answers[1])), "five six<|im_end|>");
  // What stands before an answer is what a model is given when it is asked for it.
  const auto prompt = encode_chat(*tokenizer, "chatml", std::span(messages).first(1), true);
  EXPECT_EQ(std::vector<int32_t>(chat.ids.begin(), chat.ids.begin() + static_cast<ptrdiff_t>(prompt.size())),
            prompt);
  EXPECT_EQ(chat.answers[0].begin, prompt.size());
}

}  // namespace
}  // namespace beacon::test
