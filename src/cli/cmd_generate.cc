#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/check.h"
#include "cli/chat_format.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/ledger_report.h"
#include "cli/model_report.h"
#include "cli/options_beacon.h"
#include "cli/options_model.h"
#include "cli/options_output.h"
#include "cli/options_sampling.h"
#include "cli/request.h"
#include "cli/stream_printer.h"
#include "cli/terminal.h"

namespace beacon::cli {
namespace {

struct GenerateArgs {
  ModelOptions model;
  SessionOptions session;
  GenerateOptions answer;
  OutputOptions output;
  RequestOptions request;
  std::string memory, save_memory;
};

void report_answer(const GenerateArgs& args, const Session& session, const Request& request,
                   const GenerateResult& result, double read_s) {
  const Ledger ledger = session.ledger();
  const auto generated = static_cast<int64_t>(result.ids.size());
  if (args.output.json) {
    print_json({{"text", result.text},
                {"finish_reason", result.finish_reason},
                {"prompt_tokens", request.ids.size()},
                {"generated_tokens", generated},
                {"ids", result.ids},
                {"read_s", read_s},
                {"generate_s", result.generate_s},
                {"seed", args.answer.sampling.seed},
                {"chat_template", request.template_name.empty() ? "none" : request.template_name},
                {"ledger", ledger_json(ledger)},
                {"model", model_json(session.model().info())}});
    return;
  }
  note("\n" + ledger_table(ledger));
  note(fmt::format("{:<14}{:>12.2f} s   ({} tokens)", "reading", read_s, request.ids.size()));
  note(fmt::format("{:<14}{:>12.2f} s   ({} tokens, end: {})", "answering", result.generate_s, generated,
                   result.finish_reason));
}

int run_generate(const GenerateArgs& args) {
  const InterruptGuard interrupt;
  if (!args.save_memory.empty()) require_writable(args.save_memory);
  const RequestText text = read_request(args.request);
  const auto model = Model::load(args.model);
  const Request request = encode_request(model, args.request, text, !args.memory.empty());
  if (args.memory.empty()) warn_untrained(model->info(), args.session.beacons);
  SessionOptions options = args.session;
  if (options.beacons.expected_tokens == 0)
    options.beacons.expected_tokens = static_cast<int64_t>(request.ids.size());
  Session session(model, options);
  if (!args.memory.empty()) session.load(args.memory);
  const auto save = [&] {
    if (!args.save_memory.empty()) session.save(args.save_memory);
  };

  const auto start = std::chrono::steady_clock::now();
  try {
    ProgressBar bar("reading", args.output.progress);
    session.feed(request.ids, bar.callback(interrupt));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) save();
    throw;
  }
  const double read_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  StreamPrinter printer(interrupt, !args.output.json);
  const GenerateResult result = session.generate(args.answer, printer.callback());
  printer.finish(result.text);
  // A closed pipe must not cost the memory, nor a full disk the answer.
  std::exception_ptr unsaved;
  try {
    save();
  } catch (const Error&) {
    unsaved = std::current_exception();
  }
  printer.rethrow();
  report_answer(args, session, request, result, read_s);
  if (unsaved) std::rethrow_exception(unsaved);
  return interrupt.requested() ? kExitInterrupted : kExitOk;
}

}  // namespace

void add_generate_command(CLI::App& app, Action& action) {
  auto args = std::make_shared<GenerateArgs>();
  CLI::App& command = *app.add_subcommand("generate", "Read a context, answer a prompt");
  add_model_options(command, args->model);
  add_request_options(command, args->request);
  command.add_option("--memory", args->memory, "Go on from this memory file")->type_name("PATH");
  command
      .add_option("--save-memory", args->save_memory, "Write the memory here afterwards, also after Ctrl-C")
      ->type_name("PATH");
  add_beacon_options(command, args->session);
  add_sampling_options(command, args->answer);
  add_json_option(command, args->output);
  add_progress_option(command, args->output);
  command.callback([args, &command, &action] {
    if (!args->memory.empty()) refuse_beacon_options(command);
    action = [args] { return run_generate(*args); };
  });
}

}  // namespace beacon::cli
