#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/check.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/ledger_report.h"
#include "cli/model_report.h"
#include "cli/options_beacon.h"
#include "cli/options_model.h"
#include "cli/options_output.h"
#include "cli/terminal.h"
#include "cli/text_input.h"

namespace beacon::cli {
namespace {

struct BuildArgs {
  ModelOptions model;
  SessionOptions session;
  OutputOptions output;
  std::vector<std::string> contexts;
  std::string out, title;
  bool keep_partial = false;
};

// Reads all of it; false when Ctrl-C stopped the reading.
bool read_all(Session& session, const std::vector<int32_t>& ids, const OutputOptions& output) {
  const InterruptGuard interrupt;
  ProgressBar bar("reading", output.progress);
  try {
    session.feed(ids, bar.callback(interrupt));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
    return false;
  }
  return true;
}

int run_build(const BuildArgs& args) {
  require_writable(args.out);
  const std::string text = read_contexts(args.contexts);
  const auto model = Model::load(args.model);
  warn_untrained(model->info(), args.session.beacons);
  const std::vector<int32_t> ids = model->tokenizer().encode(text);
  SessionOptions options = args.session;
  if (options.beacons.expected_tokens == 0)
    options.beacons.expected_tokens = static_cast<int64_t>(ids.size());
  Session session(model, options);

  const auto start = std::chrono::steady_clock::now();
  const bool complete = read_all(session, ids, args.output);
  const double read_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  require(complete || args.keep_partial, ErrorCode::kCancelled,
          "stopped after {} of {} tokens; nothing was written (--keep-partial writes what was read)",
          session.ledger().tokens_read, ids.size());
  session.save(args.out, args.title);

  const Ledger ledger = session.ledger();
  if (args.output.json) {
    print_json({{"file", args.out},
                {"file_bytes", std::filesystem::file_size(args.out)},
                {"complete", complete},
                {"read_s", read_s},
                {"ledger", ledger_json(ledger)},
                {"model", model_json(model->info())}});
  } else {
    print(fmt::format("{}\n{:<14}{:>12.2f} s\n{:<14}{}\n", ledger_table(ledger), "reading", read_s, "file",
                      args.out));
  }
  return complete ? kExitOk : kExitInterrupted;
}

}  // namespace

void add_memory_build_command(CLI::App& memory, Action& action) {
  auto args = std::make_shared<BuildArgs>();
  CLI::App& command = *memory.add_subcommand("build", "Read texts into a memory file");
  add_model_options(command, args->model);
  command.add_option("--context", args->contexts, "File to read; - = standard input; repeatable")
      ->type_name("FILE")
      ->allow_extra_args(false)
      ->required();
  command.add_option("-o,--out", args->out, "Memory file to write")->type_name("PATH")->required();
  command.add_option("--title", args->title, "Title kept in the file")->type_name("TEXT");
  command.add_flag("--keep-partial", args->keep_partial, "After Ctrl-C write what was read until then");
  add_beacon_options(command, args->session);
  add_json_option(command, args->output);
  add_progress_option(command, args->output);
  command.callback([args, &action] { action = [args] { return run_build(*args); }; });
}

}  // namespace beacon::cli
