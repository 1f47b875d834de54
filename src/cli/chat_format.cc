#include "cli/chat_format.h"

#include <algorithm>

#include "base/check.h"

namespace beacon::cli {
namespace {

// Stands for a text whose place in the rendered conversation is looked for.
constexpr const char* kPlaceholder = "beacon-place-of-text";

// The pieces before the placeholder.
std::vector<TextPiece> pieces_before_placeholder(std::vector<TextPiece> pieces) {
  for (size_t i = 0; i < pieces.size(); ++i) {
    const size_t at = pieces[i].trusted ? std::string::npos : pieces[i].text.find(kPlaceholder);
    if (at == std::string::npos) continue;
    pieces.resize(i + 1);
    pieces[i].text.resize(at);
    return pieces;
  }
  fail(ErrorCode::kInternal, "the chat template dropped the text of a message");
}

std::string without_trailing_space(const std::string& text) {
  const size_t last = text.find_last_not_of(" \t\r\n");
  return last == std::string::npos ? std::string() : text.substr(0, last + 1);
}

std::vector<ChatMessage> conversation(const std::string& system, const std::string& user) {
  std::vector<ChatMessage> messages;
  if (!system.empty()) messages.push_back({"system", system});
  messages.push_back({"user", user});
  return messages;
}

std::string joined(const std::string& context, const std::string& prompt) {
  if (context.empty() || prompt.empty()) return context + prompt;
  return context + "\n\n" + prompt;
}

}  // namespace

std::string choose_template(const Model& model, const std::string& wanted) {
  if (wanted == "none") return {};
  if (wanted == "auto") {
    try {
      return model.chat_template();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      return {};
    }
  }
  const auto names = chat_template_names();
  std::string choices;
  for (const auto& name : names) choices += name + ", ";
  require(std::find(names.begin(), names.end(), wanted) != names.end(), ErrorCode::kInvalidArgument,
          "expected a chat template among {}auto or none, found '{}'", choices, wanted);
  return wanted;
}

ChatFormat::ChatFormat(std::shared_ptr<const Model> model, std::string template_name)
    : model_(std::move(model)), name_(std::move(template_name)) {}

std::vector<int32_t> ChatFormat::opening(const std::string& system, const std::string& context) const {
  const Tokenizer& tokenizer = model_->tokenizer();
  if (name_.empty()) return tokenizer.encode(joined(system, context));
  const std::string bos = tokenizer.bos_id() ? tokenizer.token_text(*tokenizer.bos_id()) : std::string();
  auto pieces =
      pieces_before_placeholder(render_chat_pieces(name_, conversation(system, kPlaceholder), true, bos));
  pieces.push_back({without_trailing_space(context), false});
  return tokenizer.encode(pieces);
}

std::vector<int32_t> ChatFormat::first_turn(const std::string& system, const std::string& context,
                                            const std::string& prompt) const {
  const Tokenizer& tokenizer = model_->tokenizer();
  if (name_.empty()) return tokenizer.encode(joined(joined(system, context), prompt));
  return encode_chat(tokenizer, name_, conversation(system, joined(without_trailing_space(context), prompt)),
                     true);
}

std::vector<int32_t> ChatFormat::next_turn(const std::string& prompt, bool answer_has_end) const {
  const Tokenizer& tokenizer = model_->tokenizer();
  if (name_.empty()) return tokenizer.encode("\n\n" + prompt, {.add_special = false});
  const std::vector<ChatMessage> messages = {{"user", "."}, {"assistant", "."}, {"user", prompt}};
  auto ids = encode_chat_turn(tokenizer, name_, messages, 2, true);
  if (answer_has_end) {
    const auto end =
        std::find_if(ids.begin(), ids.end(), [&](int32_t id) { return tokenizer.is_special(id); });
    const auto& eos = tokenizer.eos_ids();
    if (end != ids.end() && std::find(eos.begin(), eos.end(), *end) != eos.end())
      ids.erase(ids.begin(), end + 1);
  }
  return ids;
}

}  // namespace beacon::cli
