#include "cli/request.h"

#include <algorithm>

#include "base/check.h"
#include "cli/chat_format.h"
#include "cli/text_input.h"

namespace beacon::cli {
namespace {

std::string joined(const std::string& first, const std::string& second) {
  return first.empty() || second.empty() ? first + second : first + "\n\n" + second;
}

// Without a template: the texts as they are, an empty line between two.
std::vector<int32_t> encode_unformatted(const Model& model, const RequestOptions& options,
                                        const RequestText& text, bool after_memory) {
  const std::string whole = joined(joined(options.system, text.context), text.prompt);
  return model.tokenizer().encode(after_memory ? "\n\n" + whole : whole,
                                  {.add_special = !after_memory, .parse_special = options.parse_special});
}

void require_text(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  const bool only_special =
      std::all_of(ids.begin(), ids.end(), [&](int32_t id) { return tokenizer.is_special(id); });
  require(!only_special, ErrorCode::kInvalidArgument,
          "expected text in the prompt, found {} special tokens and nothing else; write a question",
          ids.size());
}

}  // namespace

void add_request_options(CLI::App& command, RequestOptions& options) {
  constexpr const char* kGroup = "Text";
  command
      .add_option("--context", options.contexts,
                  "File to read before the prompt; - = standard input; repeatable")
      ->type_name("FILE")
      ->allow_extra_args(false)
      ->group(kGroup);
  auto* prompt = command.add_option("-p,--prompt", options.prompt, "What to ask; - = standard input")
                     ->type_name("TEXT")
                     ->group(kGroup);
  command.add_option("--prompt-file", options.prompt_file, "File that holds the prompt")
      ->type_name("FILE")
      ->excludes(prompt)
      ->group(kGroup);
  command.add_option("--system", options.system, "System message; before the text when there is no template")
      ->type_name("TEXT")
      ->group(kGroup);
  command
      .add_option("--chat-template", options.chat_template,
                  "Form of the prompt: a name, none, or auto: the model's own, none without a prompt")
      ->type_name("NAME")
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_flag("--parse-special", options.parse_special,
                "Read special tokens written in the text; only without a template, for trusted text")
      ->group(kGroup);
}

RequestText read_request(const RequestOptions& options) {
  const bool has_prompt_option = !options.prompt.empty() || !options.prompt_file.empty();
  const bool context_is_stdin = std::count(options.contexts.begin(), options.contexts.end(), "-") > 0;
  require(
      !(context_is_stdin && (options.prompt == "-" || options.prompt_file == "-")),
      ErrorCode::kInvalidArgument,
      "expected standard input ('-') once, found it as context and as prompt; give one of them as a file");
  RequestText text{read_contexts(options.contexts), read_prompt(options.prompt, options.prompt_file)};
  require(!has_prompt_option || !text.prompt.empty(), ErrorCode::kInvalidArgument,
          "expected a prompt, found no text in it; write a question");
  require(!text.context.empty() || !text.prompt.empty(), ErrorCode::kInvalidArgument,
          "expected a prompt or a context, found neither; give -p TEXT or --context FILE");
  return text;
}

Request encode_request(const std::shared_ptr<const Model>& model, const RequestOptions& options,
                       const RequestText& text, bool after_memory) {
  Request request;
  const bool plain = options.chat_template == "auto" && (text.prompt.empty() || options.parse_special);
  if (!plain) request.template_name = choose_template(*model, options.chat_template);
  require(request.template_name.empty() || !options.parse_special, ErrorCode::kInvalidArgument,
          "expected --parse-special without a template, found the template '{}'; add --chat-template none",
          request.template_name);
  const ChatFormat format(model, request.template_name);
  if (request.template_name.empty())
    request.ids = encode_unformatted(*model, options, text, after_memory);
  else if (after_memory)
    request.ids = format.next_turn(joined(text.context, text.prompt), /*answer_has_end=*/true);
  else
    request.ids = format.first_turn(options.system, text.context, text.prompt);
  require_text(model->tokenizer(), request.ids);
  return request;
}

}  // namespace beacon::cli
