#include <fmt/format.h>

#include "cli/chat_format.h"
#include "cli/commands.h"
#include "cli/eval_report.h"
#include "cli/exit_codes.h"
#include "cli/option_helpers.h"
#include "cli/options_beacon.h"
#include "cli/options_model.h"
#include "cli/options_output.h"
#include "cli/terminal.h"
#include "eval/passkey.h"

namespace beacon::cli {
namespace {

struct PasskeyArgs {
  ModelOptions model;
  eval::PasskeyOptions eval;
  std::filesystem::path data;
  std::string chat_template = "auto";
  OutputOptions output;
};

double depth_of(int64_t index, int64_t depths) {
  return depths > 1 ? static_cast<double>(index) / static_cast<double>(depths - 1) : 0.5;
}

nlohmann::ordered_json length_json(const eval::PasskeyLength& row) {
  nlohmann::ordered_json json = {
      {"length", row.length},
      {"tokens", row.mean_tokens},
      {"accuracy", row.all.share()},
      {"n", row.all.total},
      {"ci95", interval_json(eval::proportion_interval(row.all.right, row.all.total))},
      {"depths", nlohmann::ordered_json::array()}};
  const auto depths = static_cast<int64_t>(row.depths.size());
  for (int64_t d = 0; d < depths; ++d) {
    const eval::Tally& tally = row.depths[static_cast<size_t>(d)];
    json["depths"].push_back(
        {{"depth", depth_of(d, depths)}, {"accuracy", tally.share()}, {"n", tally.total}});
  }
  return json;
}

nlohmann::ordered_json report_json(const PasskeyArgs& args, const Model& model,
                                   const eval::PasskeyResult& result) {
  auto report = eval_head("passkey", "accuracy", result.all.share(), result.all.total,
                          eval::proportion_interval(result.all.right, result.all.total));
  report["lengths"] = nlohmann::ordered_json::array();
  for (const auto& row : result.lengths) report["lengths"].push_back(length_json(row));
  const auto mode = args.eval.session.beacons.enabled ? Remembering::kBeacons : Remembering::kEverything;
  add_origin(report, model, {args.eval.session, mode},
             {{"model", args.model.model.string()},
              {"adapter", args.model.adapter ? nlohmann::ordered_json(args.model.adapter->string())
                                             : nlohmann::ordered_json(nullptr)},
              {"data", args.data.empty() ? std::string("filler") : args.data.string()},
              {"lengths", args.eval.lengths},
              {"depths", args.eval.depths},
              {"n", args.eval.samples},
              {"seed", args.eval.seed},
              {"chat_template", args.eval.chat_template.empty() ? "none" : args.eval.chat_template}});
  return report;
}

void print_table(const eval::PasskeyResult& result, int64_t depths) {
  std::string head = fmt::format("{:>9} {:>9} {:>6}", "length", "accuracy", "n");
  for (int64_t d = 0; d < depths; ++d) head += fmt::format(" {:>5.2f}", depth_of(d, depths));
  print(head + "  (by depth)\n");
  for (const auto& row : result.lengths) {
    std::string line = fmt::format("{:>9} {:>9.3f} {:>6}", row.length, row.all.share(), row.all.total);
    for (const auto& tally : row.depths)
      line += tally.total > 0 ? fmt::format(" {:>5.2f}", tally.share()) : std::string("     -");
    print(line + "\n");
  }
  print(fmt::format("{:>9} {:>9.3f} {:>6}\n", "all", result.all.share(), result.all.total));
}

int run_passkey(PasskeyArgs& args) {
  const InterruptGuard interrupt;
  const auto haystack = args.data.empty() ? eval::passkey_filler() : eval::load_documents(args.data);
  const auto model = Model::load(args.model);
  args.eval.chat_template = choose_template(*model, args.chat_template);
  ProgressBar bar("samples", args.output.progress, "samples");
  const auto result = eval::measure_passkey(model, haystack, args.eval, [&](int64_t done, int64_t total) {
    bar.update({done, total});
    return !interrupt.requested();
  });
  if (args.output.json)
    print_json(report_json(args, *model, result));
  else
    print_table(result, args.eval.depths);
  return kExitOk;
}

}  // namespace

void add_eval_passkey_command(CLI::App& eval, Action& action) {
  auto args = std::make_shared<PasskeyArgs>();
  CLI::App& command =
      *eval.add_subcommand("passkey", "Five digits hidden in a long text: are they still known?");
  add_model_options(command, args->model);
  command.add_option("--lengths", args->eval.lengths, "Tokens of a prompt; several between commas")
      ->type_name("N[,N]")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->required();
  const auto count = [&](const char* name, int64_t& field, const char* description) {
    command.add_option(name, field, description)
        ->type_name("N")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
  };
  count("--depths", args->eval.depths, "Places of the key, evenly spaced");
  count("--n", args->eval.samples, "Samples of each length, dealt out over the depths");
  command.add_option("--seed", args->eval.seed, "Seed of keys and stretches of text")
      ->type_name("N")
      ->capture_default_str();
  add_path(command, "--data", args->data,
           "Texts to hide the key in: file or folder (default: filler sentences)");
  command
      .add_option("--chat-template", args->chat_template, "Name of a template, auto (the model's) or none")
      ->type_name("NAME")
      ->capture_default_str();
  add_beacon_options(command, args->eval.session);
  add_json_option(command, args->output);
  add_progress_option(command, args->output);
  command.callback([args, &action] { action = [args] { return run_passkey(*args); }; });
}

}  // namespace beacon::cli
