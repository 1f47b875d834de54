#include <beacon/chat.h>

#include <algorithm>

#include "base/check.h"
#include "tokenizer/chat_answers.h"
#include "tokenizer/chat_templates.h"

namespace beacon {
namespace {

std::string joined_names() {
  std::string names;
  for (const ChatTemplate& known : all_chat_templates()) {
    if (!names.empty()) names += ", ";
    names += known.name;
  }
  return names;
}

ChatBuilder build(std::string_view name, std::span<const ChatMessage> messages, bool add_generation_prompt,
                  std::string_view bos, std::string_view eos) {
  require(!messages.empty(), ErrorCode::kInvalidArgument, "expected at least one chat message, found none");
  for (const ChatMessage& message : messages)
    require(message.role == "system" || message.role == "user" || message.role == "assistant",
            ErrorCode::kInvalidArgument, "expected a role of system, user or assistant, found '{}'",
            std::string_view(message.role).substr(0, 40));
  for (const ChatTemplate& known : all_chat_templates()) {
    if (known.name != name) continue;
    ChatBuilder builder(bos, eos);
    known.render(messages, add_generation_prompt, builder);
    return builder;
  }
  fail(ErrorCode::kInvalidArgument, "expected a chat template of {}, found '{}'", joined_names(),
       name.substr(0, 60));
}

// The tokens that the model's template would be given as bos_token and eos_token.
struct Marks {
  std::string bos;
  std::string eos;
};

Marks marks_of(const Tokenizer& tokenizer) {
  Marks marks;
  if (const auto id = tokenizer.bos_id()) marks.bos = tokenizer.token_text(*id);
  if (!tokenizer.find("</s>") && !tokenizer.eos_ids().empty())
    marks.eos = tokenizer.token_text(tokenizer.eos_ids()[0]);
  return marks;
}

// How many tokens of a whole the tokens of its beginning share with it.
size_t shared_tokens(const std::vector<int32_t>& all, const std::vector<int32_t>& head) {
  const size_t most = std::min(all.size(), head.size());
  const auto end =
      std::mismatch(head.begin(), head.begin() + static_cast<ptrdiff_t>(most), all.begin()).first;
  return static_cast<size_t>(end - head.begin());
}

}  // namespace

std::vector<std::string> chat_template_names() {
  std::vector<std::string> names;
  for (const ChatTemplate& known : all_chat_templates()) names.emplace_back(known.name);
  return names;
}

std::string recognise_chat_template(std::string_view jinja) {
  const auto name = match_chat_template(jinja);
  require(name.has_value(), ErrorCode::kUnsupported,
          "the model's chat template is none of those we know; choose one by name: {}", joined_names());
  return std::string(*name);
}

std::vector<TextPiece> render_chat_pieces(std::string_view name, std::span<const ChatMessage> messages,
                                          bool add_generation_prompt, std::string_view bos,
                                          std::string_view eos) {
  return build(name, messages, add_generation_prompt, bos, eos).take();
}

std::string render_chat(std::string_view name, std::span<const ChatMessage> messages,
                        bool add_generation_prompt) {
  std::string text;
  for (const TextPiece& piece : render_chat_pieces(name, messages, add_generation_prompt)) text += piece.text;
  return text;
}

std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, std::string_view name,
                                 std::span<const ChatMessage> messages, bool add_generation_prompt) {
  const Marks marks = marks_of(tokenizer);
  return tokenizer.encode(build(name, messages, add_generation_prompt, marks.bos, marks.eos).pieces());
}

std::vector<int32_t> encode_chat_turn(const Tokenizer& tokenizer, std::string_view name,
                                      std::span<const ChatMessage> messages, size_t first,
                                      bool add_generation_prompt) {
  require(first <= messages.size(), ErrorCode::kInvalidArgument,
          "expected a first message of 0 to {}, found {}", messages.size(), first);
  if (first == 0) return encode_chat(tokenizer, name, messages, add_generation_prompt);
  // What follows must not be encoded alone: some tokenizers put a space before whatever comes first. A word
  // stands in for what was said, so that the border does not depend on it.
  std::vector<ChatMessage> turns(messages.begin(), messages.end());
  turns[first - 1].content = std::string("x");
  const Marks marks = marks_of(tokenizer);
  const ChatBuilder builder = build(name, turns, add_generation_prompt, marks.bos, marks.eos);
  const auto border = builder.end_of_content(first - 1);
  BEACON_CHECK(border.has_value());
  const std::span<const TextPiece> pieces = builder.pieces();
  const auto head = tokenizer.encode(pieces.first(*border));
  const auto all = tokenizer.encode(pieces);
  if (all.size() >= head.size() && std::equal(head.begin(), head.end(), all.begin()))
    return {all.begin() + static_cast<ptrdiff_t>(head.size()), all.end()};
  return tokenizer.encode(pieces.subspan(*border));
}

ChatWithAnswers encode_chat_with_answers(const Tokenizer& tokenizer, std::string_view name,
                                         std::span<const ChatMessage> messages) {
  const Marks marks = marks_of(tokenizer);
  const ChatBuilder builder = build(name, messages, /*add_generation_prompt=*/false, marks.bos, marks.eos);
  const std::span<const TextPiece> pieces = builder.pieces();
  ChatWithAnswers chat{tokenizer.encode(pieces), {}};
  const std::vector<int32_t>& eos = tokenizer.eos_ids();
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "assistant") continue;
    const auto border = builder.end_of_content(i);
    BEACON_CHECK(border.has_value());
    const bool has_content = *border > 0 && !pieces[*border - 1].trusted;  // a template may strip it away
    const size_t before = *border - (has_content ? 1 : 0);
    AnswerTokens answer{shared_tokens(chat.ids, tokenizer.encode(pieces.first(before))),
                        shared_tokens(chat.ids, tokenizer.encode(pieces.first(*border)))};
    // The mark that ends a turn stands in the template's own text right behind the content.
    if (*border < pieces.size() && pieces[*border].trusted) {
      const size_t limit = shared_tokens(chat.ids, tokenizer.encode(pieces.first(*border + 1)));
      const auto begin = chat.ids.begin() + static_cast<ptrdiff_t>(answer.end);
      const auto end = chat.ids.begin() + static_cast<ptrdiff_t>(std::max(limit, answer.end));
      const auto mark = std::find_if(
          begin, end, [&](int32_t id) { return std::binary_search(eos.begin(), eos.end(), id); });
      if (mark != end) answer.end += static_cast<size_t>(mark - begin) + 1;
    }
    chat.answers.push_back(answer);
  }
  return chat;
}

}  // namespace beacon
