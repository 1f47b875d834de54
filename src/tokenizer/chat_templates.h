#pragma once
// The chat templates we know, as code.
#include <beacon/chat.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

// Collects a conversation's text and remembers where each message's content ends.
class ChatBuilder {
 public:
  ChatBuilder(std::string_view bos, std::string_view eos) : bos_(bos), eos_(eos) {}

  // The template's own words.
  ChatBuilder& write(std::string_view text);
  ChatBuilder& bos(std::string_view usual) { return write(bos_.empty() ? usual : bos_); }
  ChatBuilder& eos(std::string_view usual) { return write(eos_.empty() ? usual : eos_); }
  // What somebody said, as message `index`.
  ChatBuilder& content(std::string_view text, size_t index);

  const std::vector<TextPiece>& pieces() const { return pieces_; }
  std::vector<TextPiece> take() { return std::move(pieces_); }
  // Number of pieces up to and including the content of a message; nothing when it was not written.
  std::optional<size_t> end_of_content(size_t index) const;

 private:
  std::string_view bos_;
  std::string_view eos_;
  std::vector<TextPiece> pieces_;
  std::vector<std::pair<size_t, size_t>> ends_;  // message, pieces
};

struct ChatTemplate {
  std::string_view name;
  void (*render)(std::span<const ChatMessage> messages, bool add_generation_prompt, ChatBuilder& out);
};

std::span<const ChatTemplate> all_chat_templates();

// What a Jinja text spells; nothing when it is none of them.
std::optional<std::string_view> match_chat_template(std::string_view jinja);

}  // namespace beacon
