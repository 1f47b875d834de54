#include <beacon/tokenizer.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/option_helpers.h"
#include "cli/options_output.h"
#include "cli/terminal.h"
#include "cli/text_input.h"

namespace beacon::cli {
namespace {

struct TokenizeArgs {
  std::filesystem::path model;
  std::string file = "-";
  OutputOptions output;
  bool decode = false;
  bool skip_special = false;
  bool no_special = false;
  bool parse_special = false;
};

int32_t checked_id(int64_t id) {
  require(id >= 0 && id <= INT32_MAX, ErrorCode::kInvalidArgument, "expected token ids from 0, found {}", id);
  return static_cast<int32_t>(id);
}

// {"ids": [...]}, [...], or numbers between spaces.
std::vector<int32_t> parse_ids(const std::string& text) {
  std::vector<int32_t> ids;
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const auto& list = json.is_object() && json.contains("ids") ? json["ids"] : json;
  if (list.is_array()) {
    for (const auto& id : list) {
      require(id.is_number_integer(), ErrorCode::kInvalidArgument,
              "expected whole numbers in \"ids\", found {}", id.dump());
      ids.push_back(checked_id(id.get<int64_t>()));
    }
    return ids;
  }
  std::istringstream words(text);
  for (int64_t id = 0; words >> id;) ids.push_back(checked_id(id));
  require(words.eof(), ErrorCode::kInvalidArgument,
          "expected token ids as JSON {{\"ids\": [..]}} or as numbers, found something else after {} ids",
          ids.size());
  return ids;
}

int run_tokenize(const TokenizeArgs& args) {
  const auto tokenizer = Tokenizer::load(args.model);
  const std::string text = read_text(args.file);
  if (args.decode) {
    const std::string decoded = tokenizer->decode(parse_ids(text), args.skip_special);
    args.output.json ? print_json({{"text", decoded}}) : print(decoded);
    return kExitOk;
  }
  const auto ids =
      tokenizer->encode(text, {.add_special = !args.no_special, .parse_special = args.parse_special});
  if (args.output.json)
    print_json({{"ids", ids}});
  else
    print(fmt::format("{}\n", fmt::join(ids, " ")));
  return kExitOk;
}

}  // namespace

void add_tokenize_command(CLI::App& app, Action& action) {
  auto args = std::make_shared<TokenizeArgs>();
  CLI::App& command = *app.add_subcommand("tokenize", "Text to token ids and back");
  add_path(command, "-m,--model", args->model,
           "Hugging Face folder, GGUF file, tokenizer.json or SentencePiece model")
      ->required();
  command.add_option("file", args->file, "File to read; - = standard input")
      ->type_name("FILE")
      ->capture_default_str();
  command.add_flag("--decode", args->decode, "Ids (JSON or numbers) back to text");
  command.add_flag("--skip-special", args->skip_special, "With --decode: leave special tokens out");
  command.add_flag("--no-special", args->no_special, "Do not add the tokenizer's own first token");
  command.add_flag("--parse-special", args->parse_special, "Read special tokens written in the text");
  add_json_option(command, args->output);
  command.callback([args, &action] { action = [args] { return run_tokenize(*args); }; });
}

}  // namespace beacon::cli
