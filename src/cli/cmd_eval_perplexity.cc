#include <fmt/format.h>

#include <cmath>

#include "cli/commands.h"
#include "cli/eval_report.h"
#include "cli/exit_codes.h"
#include "cli/option_helpers.h"
#include "cli/options_beacon.h"
#include "cli/options_model.h"
#include "cli/options_output.h"
#include "cli/terminal.h"
#include "eval/perplexity.h"

namespace beacon::cli {
namespace {

struct PerplexityArgs {
  ModelOptions model;
  eval::PerplexityOptions eval;
  std::filesystem::path data;
  OutputOptions output;
};

nlohmann::ordered_json report_json(const PerplexityArgs& args, const Model& model,
                                   const eval::PerplexityResult& result) {
  auto report = eval_head("perplexity", "nll", result.nll, result.tokens, result.ci95);
  report["nll"] = result.nll;
  report["tokens"] = result.tokens;
  report["perplexity"] = std::exp(result.nll);
  report["documents"] = nlohmann::ordered_json::array();
  for (const auto& document : result.documents)
    report["documents"].push_back({{"name", document.name},
                                   {"tokens", document.tokens},
                                   {"nll", document.nll},
                                   {"ci95", interval_json(document.ci95)}});
  report["too_short"] = result.too_short;
  add_origin(report, model, {args.eval.session, args.eval.remembering},
             {{"model", args.model.model.string()},
              {"adapter", args.model.adapter ? nlohmann::ordered_json(args.model.adapter->string())
                                             : nlohmann::ordered_json(nullptr)},
              {"data", args.data.string()},
              {"from", args.eval.from},
              {"to", args.eval.to}});
  return report;
}

std::string interval_text(const std::optional<eval::Interval>& interval) {
  return interval ? fmt::format("{:.4f} .. {:.4f}", interval->low, interval->high) : std::string("-");
}

void print_table(const eval::PerplexityResult& result) {
  print(fmt::format("{:>9} {:>9}  {:<20} {}\n", "nll", "tokens", "95 % interval", "document"));
  for (const auto& document : result.documents)
    print(fmt::format("{:>9.4f} {:>9}  {:<20} {}\n", document.nll, document.tokens,
                      interval_text(document.ci95), document.name));
  print(fmt::format("{:>9.4f} {:>9}  {:<20} all (perplexity {:.3f})\n", result.nll, result.tokens,
                    interval_text(result.ci95), std::exp(result.nll)));
}

int run_perplexity(const PerplexityArgs& args) {
  const InterruptGuard interrupt;
  const auto documents = eval::load_documents(args.data);
  const auto model = Model::load(args.model);
  ProgressBar bar("scoring", args.output.progress);
  const auto result = eval::measure_perplexity(*model, documents, args.eval, bar.callback(interrupt));
  for (const auto& name : result.too_short)
    note(fmt::format("beacon: warning: {} has no token {}; it is left out", name, args.eval.from));
  if (args.output.json)
    print_json(report_json(args, *model, result));
  else
    print_table(result);
  return kExitOk;
}

}  // namespace

void add_eval_perplexity_command(CLI::App& eval, Action& action) {
  auto args = std::make_shared<PerplexityArgs>();
  CLI::App& command =
      *eval.add_subcommand("perplexity", "Negative log-likelihood of texts, in nats per token");
  add_model_options(command, args->model);
  add_path(command, "--data", args->data,
           "Text file, .jsonl file with \"text\" in every line, or a folder of both")
      ->required();
  command.add_option("--from", args->eval.from, "First token scored in each document")
      ->type_name("N")
      ->capture_default_str();
  command.add_option("--to", args->eval.to, "One past the last token scored; later ones are not read")
      ->type_name("N")
      ->capture_default_str();
  add_choice<Remembering>(
      command, "--mode", args->eval.remembering,
      {{"beacon", Remembering::kBeacons},
       {"full", Remembering::kEverything},
       {"tail", Remembering::kTail},
       {"none", Remembering::kNothing}},
      "What is remembered: beacons; everything, raw; the sink and the raw tail only; nothing, "
      "windows start empty");
  add_beacon_options(command, args->eval.session);
  add_json_option(command, args->output);
  add_progress_option(command, args->output);
  command.callback([args, &action] { action = [args] { return run_perplexity(*args); }; });
}

}  // namespace beacon::cli
