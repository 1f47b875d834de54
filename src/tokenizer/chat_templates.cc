#include "tokenizer/chat_templates.h"

#include <algorithm>

#include "base/check.h"
#include "tokenizer/unicode.h"

namespace beacon {

ChatBuilder& ChatBuilder::write(std::string_view text) {
  if (!text.empty()) pieces_.push_back({std::string(text), true});
  return *this;
}

ChatBuilder& ChatBuilder::content(std::string_view text, size_t index) {
  if (!text.empty()) pieces_.push_back({std::string(text), false});
  ends_.emplace_back(index, pieces_.size());
  return *this;
}

std::optional<size_t> ChatBuilder::end_of_content(size_t index) const {
  for (const auto& [message, pieces] : ends_)
    if (message == index) return pieces;
  return std::nullopt;
}

namespace {

using Messages = std::span<const ChatMessage>;

constexpr std::string_view kSmolSystem =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face";
constexpr std::string_view kQwen2System = "You are a helpful assistant.";
constexpr std::string_view kQwen25System =
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";

void render_chatml(Messages messages, bool add_generation_prompt, std::string_view default_system,
                   ChatBuilder& out) {
  if (!default_system.empty() && messages[0].role != "system")
    out.write("<|im_start|>system\n").write(default_system).write("<|im_end|>\n");
  for (size_t i = 0; i < messages.size(); ++i)
    out.write("<|im_start|>")
        .write(messages[i].role)
        .write("\n")
        .content(messages[i].content, i)
        .write("<|im_end|>\n");
  if (add_generation_prompt) out.write("<|im_start|>assistant\n");
}

void chatml(Messages messages, bool prompt, ChatBuilder& out) { render_chatml(messages, prompt, {}, out); }
void smollm2(Messages messages, bool prompt, ChatBuilder& out) {
  render_chatml(messages, prompt, kSmolSystem, out);
}
void qwen2(Messages messages, bool prompt, ChatBuilder& out) {
  render_chatml(messages, prompt, kQwen2System, out);
}
void qwen25(Messages messages, bool prompt, ChatBuilder& out) {
  render_chatml(messages, prompt, kQwen25System, out);
}

void header(std::string_view role, ChatBuilder& out) {
  out.write("<|start_header_id|>").write(role).write("<|end_header_id|>\n\n");
}

void llama3(Messages messages, bool add_generation_prompt, ChatBuilder& out) {
  out.bos("<|begin_of_text|>");
  for (size_t i = 0; i < messages.size(); ++i) {
    header(messages[i].role, out);
    out.content(strip_python(messages[i].content), i).write("<|eot_id|>");
  }
  if (add_generation_prompt) header("assistant", out);
}

// The template's date is fixed where its host gives it no clock, and so is ours.
void llama31(Messages messages, bool add_generation_prompt, ChatBuilder& out) {
  out.bos("<|begin_of_text|>");
  header("system", out);
  out.write("Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n");
  const bool has_system = messages[0].role == "system";
  if (has_system) out.content(strip_python(messages[0].content), 0);
  out.write("<|eot_id|>");
  for (size_t i = has_system; i < messages.size(); ++i) {
    header(messages[i].role, out);
    out.content(strip_python(messages[i].content), i).write("<|eot_id|>");
  }
  if (add_generation_prompt) header("assistant", out);
}

// Whether the messages begin with a system message; after it user and assistant must take turns.
bool check_turns(Messages messages, std::string_view name) {
  const bool has_system = messages[0].role == "system";
  require(messages.size() > has_system, ErrorCode::kInvalidArgument,
          "the chat template {} needs a user message after the system message", name);
  for (size_t i = has_system; i < messages.size(); ++i) {
    const std::string_view wanted = (i - has_system) % 2 == 0 ? "user" : "assistant";
    require(messages[i].role == wanted, ErrorCode::kInvalidArgument,
            "the chat template {} expects user and assistant in turns, and a system message only at the "
            "start: message "
            "{} should be of '{}', found '{}'",
            name, i, wanted, messages[i].role);
  }
  return has_system;
}

void llama2(Messages messages, bool, ChatBuilder& out) {
  const bool has_system = check_turns(messages, "llama-2");
  for (size_t i = has_system; i < messages.size(); ++i) {
    const std::string& text = messages[i].content;
    if (messages[i].role == "assistant") {
      out.write(" ").content(strip_python(text), i).write(" ").eos("</s>");
      continue;
    }
    out.bos("<s>").write("[INST] ");
    if (i == 1 && has_system) {
      // The template strips the whole of this, so a user's text loses the white space at its end only; an
      // empty one takes the line ends before it along.
      const std::string guarded = "." + text;
      const std::string_view kept = strip_python(guarded).substr(1);
      out.write("<<SYS>>\n").content(messages[0].content, 0);
      out.write(kept.empty() ? "\n<</SYS>>" : "\n<</SYS>>\n\n").content(kept, i);
    } else {
      out.content(strip_python(text), i);
    }
    out.write(" [/INST]");
  }
}

// What differs between the versions of Mistral's template.
struct MistralDialect {
  std::string_view name;
  std::string_view before_user;
  std::string_view after_user;
  std::string_view before_assistant;
  std::string_view after_eos;
  enum class System { kRefused, kFirstUser, kLastMessage } system;
  bool strip_assistant;
};

constexpr MistralDialect kMistral = {
    "mistral", " [INST] ", " [/INST]", " ", "", MistralDialect::System::kFirstUser, false};
constexpr MistralDialect kMistral01 = {
    "mistral-v0.1", "[INST] ", " [/INST]", "", " ", MistralDialect::System::kRefused, false};
constexpr MistralDialect kMistral02 = {
    "mistral-v0.2", "[INST] ", " [/INST]", "", "", MistralDialect::System::kRefused, false};
constexpr MistralDialect kMistral03 = {
    "mistral-v0.3", "[INST] ", "[/INST]", " ", "", MistralDialect::System::kLastMessage, true};

void render_mistral(Messages messages, const MistralDialect& dialect, ChatBuilder& out) {
  const bool has_system = check_turns(messages, dialect.name);
  require(!has_system || dialect.system != MistralDialect::System::kRefused, ErrorCode::kInvalidArgument,
          "the chat template {} has no system messages; put the text into the first user message",
          dialect.name);
  out.bos("<s>");
  for (size_t i = has_system; i < messages.size(); ++i) {
    const std::string& text = messages[i].content;
    if (messages[i].role == "assistant") {
      out.write(dialect.before_assistant).content(dialect.strip_assistant ? strip_python(text) : text, i);
      out.eos("</s>").write(dialect.after_eos);
      continue;
    }
    const size_t with_system =
        dialect.system == MistralDialect::System::kLastMessage ? messages.size() - 1 : 1;
    out.write(dialect.before_user);
    if (has_system && i == with_system) out.content(messages[0].content, 0).write("\n\n");
    out.content(text, i).write(dialect.after_user);
  }
}

void mistral(Messages messages, bool, ChatBuilder& out) { render_mistral(messages, kMistral, out); }
void mistral01(Messages messages, bool, ChatBuilder& out) { render_mistral(messages, kMistral01, out); }
void mistral02(Messages messages, bool, ChatBuilder& out) { render_mistral(messages, kMistral02, out); }
void mistral03(Messages messages, bool, ChatBuilder& out) { render_mistral(messages, kMistral03, out); }

constexpr ChatTemplate kTemplates[] = {
    {"chatml", chatml},          {"smollm2", smollm2},
    {"llama-2", llama2},         {"llama-3", llama3},
    {"llama-3.1", llama31},      {"mistral", mistral},
    {"mistral-v0.1", mistral01}, {"mistral-v0.2", mistral02},
    {"mistral-v0.3", mistral03}, {"qwen2", qwen2},
    {"qwen2.5", qwen25},
};

// Without white space, with one kind of quotes and one way to name a member.
std::string squeeze(std::string_view jinja) {
  std::string out;
  for (size_t i = 0; i < jinja.size(); ++i) {
    const char c = jinja[i];
    if (c == ' ' || c == '\n' || c == '\t' || c == '\r') continue;
    if (c == '\\' && i + 1 < jinja.size() && jinja[i + 1] == 'n') {
      ++i;
      continue;
    }
    out.push_back(c == '"' ? '\'' : c);
  }
  for (const auto& [from, to] :
       {std::pair<std::string_view, std::string_view>{"message.role", "message['role']"},
        {"message.content", "message['content']"}})
    for (size_t at = out.find(from); at != std::string::npos; at = out.find(from, at))
      out.replace(at, from.size(), to);
  return out;
}

std::optional<std::string_view> match_chatml(std::string_view text) {
  if (text.find("'<|im_start|>'+message['role']+''+message['content']+'<|im_end|>'") ==
      std::string_view::npos)
    return std::nullopt;
  // Rules about a model's thoughts change earlier turns.
  if (text.find("think") != std::string_view::npos) return std::nullopt;
  std::string_view name = "chatml";
  constexpr std::string_view kSystem = "<|im_start|>system";
  for (size_t at = text.find(kSystem); at != std::string_view::npos; at = text.find(kSystem, at + 1)) {
    const std::string_view rest = text.substr(at + kSystem.size());
    const std::string_view words = rest.substr(0, std::min(rest.find("<|im_end|>"), rest.find('\'')));
    if (words.empty() || words.starts_with("'")) continue;
    if (words == squeeze(kSmolSystem))
      name = "smollm2";
    else if (words == squeeze(kQwen2System))
      name = "qwen2";
    else if (words == squeeze(kQwen25System))
      name = "qwen2.5";
    else if (!squeeze(kQwen25System).starts_with(words))
      return std::nullopt;
  }
  return name;
}

std::optional<std::string_view> match_inst(std::string_view jinja, std::string_view text) {
  if (text.find("<<SYS>>") != std::string_view::npos) return "llama-2";
  const auto has = [&](std::string_view part) { return jinja.find(part) != std::string_view::npos; };
  if (has("[SYSTEM_PROMPT]")) return std::nullopt;
  if (has("\" [INST] \"") || has("' [INST] '")) return "mistral";
  if (has("\"[/INST]\"") || has("'[/INST]'"))
    return has("| trim") || has("|trim") ? std::optional("mistral-v0.3") : std::nullopt;
  if (!has("[INST] ") || !has(" [/INST]")) return std::nullopt;
  return text.find("eos_token+''") != std::string_view::npos ? "mistral-v0.1" : "mistral-v0.2";
}

}  // namespace

std::span<const ChatTemplate> all_chat_templates() { return kTemplates; }

std::optional<std::string_view> match_chat_template(std::string_view jinja) {
  const std::string text = squeeze(jinja);
  if (text.find("<|start_header_id|>") != std::string::npos)
    return text.find("CuttingKnowledgeDate") != std::string::npos ? "llama-3.1" : "llama-3";
  if (text.find("[INST]") != std::string::npos) return match_inst(jinja, text);
  const auto name = match_chatml(text);
  // Back to the constants, which outlive `text`.
  if (name)
    for (const ChatTemplate& known : kTemplates)
      if (known.name == *name) return known.name;
  return std::nullopt;
}

}  // namespace beacon
