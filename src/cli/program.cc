#include "cli/program.h"

#include <beacon/error.h>
#include <beacon/version.h>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <new>

#include "base/log.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/terminal.h"

namespace beacon::cli {
namespace {

void report(std::string message) {
  std::replace(message.begin(), message.end(), '\n', ' ');
  note("beacon: " + message);
}

int exit_code(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return kExitUsage;
    case ErrorCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitFailure;
  }
}

int run_guarded(const Action& action) {
  try {
    return action();
  } catch (const ClosedPipe&) {
    return kExitClosedPipe;
  } catch (const Error& error) {
    report(error.what());
    return exit_code(error.code());
  } catch (const std::bad_alloc&) {
    report("out of memory; a smaller window, a larger ratio or --memory-type q8_0 needs less");
  } catch (const std::exception& error) {
    report(fmt::format("internal error: {}", error.what()));
  }
  return kExitFailure;
}

// What the parser has to say. That a command is missing it also says where one was given that it does not
// know.
std::string complaint(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* at = &app;
  std::string command = "beacon";
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().front();
    command += " " + at->get_name();
  }
  std::string what = error.what();
  const auto unknown = at->remaining();
  if (at->get_require_subcommand_min() > 0 && !unknown.empty()) {
    std::string names;
    for (const CLI::App* sub : at->get_subcommands([](const CLI::App*) { return true; }))
      names += (names.empty() ? "" : ", ") + sub->get_name();
    what = fmt::format("expected one of {}, found '{}'", names, unknown.front());
  }
  return fmt::format("{} (see '{} --help')", what, command);
}

// Help is a result; anything else the parser has to say is a mistake in the command line.
int parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print(app.help());
    return kExitOk;
  } catch (const CLI::CallForVersion& version) {
    print(fmt::format("{}\n", version.what()));
    return kExitOk;
  } catch (const CLI::ParseError& error) {
    report(complaint(app, error));
    return kExitUsage;
  }
  return -1;
}

void add_commands(CLI::App& app, Action& action) {
  add_generate_command(app, action);
  add_chat_command(app, action);
  add_memory_command(app, action);
  add_eval_command(app, action);
  add_bench_command(app, action);
  add_convert_command(app, action);
  add_tokenize_command(app, action);
  add_parity_command(app, action);
  add_train_command(app, action);
}

}  // namespace

int run_program(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  set_log_sink([](const std::string& line) { note("beacon: warning: " + line); });
  Action action;
  CLI::App app("Reads texts far beyond a model's window into a small memory, and answers from it.", "beacon");
  app.set_version_flag("--version", std::string("beacon ") + version());
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  add_commands(app, action);
  return run_guarded([&] {
    if (argc < 2) {
      note(app.help());
      return kExitUsage;
    }
    const int code = parse(app, argc, argv);
    return code >= 0 ? code : action();
  });
}

}  // namespace beacon::cli
