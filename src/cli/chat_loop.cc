#include "cli/chat_loop.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "cli/exit_codes.h"
#include "cli/ledger_report.h"
#include "cli/line_input.h"
#include "cli/model_report.h"
#include "cli/terminal.h"
#include "cli/text_input.h"

namespace beacon::cli {
namespace {

constexpr const char* kHelp =
    "/save FILE  write the memory to a file\n"
    "/load FILE  go on from a memory file\n"
    "/reset      forget everything, the context too\n"
    "/memory     show what is in memory\n"
    "/help       show this\n"
    "/quit       leave (so does the end of input)\n"
    "Ctrl-C stops an answer; at the prompt it leaves. A turn that begins with a slash is written with two.";

// Tokens a conversation may grow by when --expected-tokens says nothing.
constexpr int64_t kRoomForTurns = 4096;

// Runs a line that begins with a slash; false when it asks to leave.
bool run_slash_command(Chat& chat, const std::string& line) {
  const size_t space = line.find(' ');
  const std::string name = line.substr(0, space);
  const std::string argument =
      space == std::string::npos ? "" : line.substr(line.find_first_not_of(' ', space));
  if (name == "/quit") return false;
  if (name == "/help") {
    note(kHelp);
  } else if (name == "/memory") {
    note(ledger_table(chat.ledger()));
  } else if (name == "/reset") {
    chat.reset();
    note("memory is empty");
  } else if (name == "/save" || name == "/load") {
    require(!argument.empty(), ErrorCode::kInvalidArgument, "expected {} FILE, found no file name", name);
    name == "/save" ? chat.save(argument) : chat.load(argument);
    note((name == "/save" ? "saved to " : "loaded ") + argument + " " + meter_line(chat.ledger()));
  } else {
    fail(ErrorCode::kInvalidArgument, "expected one of /save /load /reset /memory /help /quit, found {}",
         name);
  }
  return true;
}

// Runs one line; false when it asks to leave.
bool run_line(Chat& chat, const std::string& line) {
  if (line.find_first_not_of(" \t") == std::string::npos) return true;
  if (line[0] == '/' && (line.size() < 2 || line[1] != '/')) return run_slash_command(chat, line);
  chat.turn(line[0] == '/' ? line.substr(1) : line);
  return true;
}

// A failed turn ends a script with an error, but not a person's conversation.
int run_lines(Chat& chat, InterruptGuard& interrupt) {
  const bool interactive = stdin_is_terminal();
  int code = kExitOk;
  LineInput input(interrupt);
  std::string line;
  while (true) {
    if (interactive) fmt::print(stderr, "{}", dim("> "));
    if (!input.next(line)) break;
    try {
      if (!run_line(chat, line)) break;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kCancelled) interrupt.rearm();
      note(fmt::format("beacon: {}", error.what()));
      code = kExitFailure;
    }
  }
  if (interrupt.requested()) code = kExitInterrupted;
  if (interactive) note("");
  return interactive && code == kExitFailure ? kExitOk : code;
}

}  // namespace

int run_chat(const ChatArgs& args) {
  InterruptGuard interrupt;
  require(std::count(args.contexts.begin(), args.contexts.end(), "-") == 0, ErrorCode::kInvalidArgument,
          "expected --context FILE, found '-'; standard input is the conversation");
  const std::string context = read_contexts(args.contexts);
  const auto model = Model::load(args.model);
  warn_untrained(model->info(), args.session.beacons);
  ChatArgs chosen = args;
  if (chosen.session.beacons.expected_tokens == 0) {
    const auto tokens = static_cast<int64_t>(model->tokenizer().encode(context).size());
    chosen.session.beacons.expected_tokens = tokens + kRoomForTurns;
  }
  Chat chat(chosen, model, interrupt);
  if (!context.empty()) {
    chat.open(context);
    note(dim(meter_line(chat.ledger())));
  }
  return run_lines(chat, interrupt);
}

}  // namespace beacon::cli
