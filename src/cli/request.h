#pragma once
// What a person asks of a model: contexts, a prompt, and the form they are put in.
#include <beacon/model.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace beacon::cli {

struct RequestOptions {
  std::vector<std::string> contexts;  // files, "-" = standard input
  std::string prompt;                 // text, "-" = standard input
  std::string prompt_file;
  std::string system;
  std::string chat_template = "auto";
  bool parse_special = false;
};

// --context -p --prompt-file --system --chat-template --parse-special
void add_request_options(CLI::App& command, RequestOptions& options);

struct RequestText {
  std::string context;
  std::string prompt;
};

// Reads the files. Throws kInvalidArgument when neither a context nor a prompt is given or a given one is
// empty.
RequestText read_request(const RequestOptions& options);

struct Request {
  std::string template_name;  // empty = plain text
  std::vector<int32_t> ids;
};

// Ids of one call. `auto` takes the model's template when there is a prompt, and plain text, to be continued,
// when there is none. Throws kInvalidArgument when nothing but special tokens is left.
Request encode_request(const std::shared_ptr<const Model>& model, const RequestOptions& options,
                       const RequestText& text, bool after_memory);

}  // namespace beacon::cli
