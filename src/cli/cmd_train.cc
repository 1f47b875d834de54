#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/interrupt.h"
#include "cli/option_helpers.h"
#include "cli/options_output.h"
#include "cli/terminal.h"
#include "cli/train_progress.h"
#include "train/config.h"
#include "train/plot.h"
#include "train/run.h"

namespace beacon::cli {
namespace {

struct TrainArgs {
  std::filesystem::path config;
  std::vector<std::pair<const ConfigField*, std::string>> overrides;  // in the order of the command line
  bool resume = false;
  OutputOptions output;
};

std::string option_name(const ConfigField& field) {
  std::string name = field.key;
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

TrainConfig resolve_config(const TrainArgs& args) {
  TrainConfig config;
  if (!args.config.empty()) config = load_train_config(args.config);
  for (const auto& [field, text] : args.overrides) set_field(config, *field, text);
  validate(config);
  return config;
}

void print_result(const TrainArgs& args, const RunResult& result) {
  if (args.output.json) {
    nlohmann::ordered_json line = {
        {"steps", result.steps}, {"interrupted", result.interrupted}, {"adapter", result.adapter.string()}};
    if (result.best) line["valid_nll"] = *result.best;
    return print_json(line);
  }
  print(fmt::format("{} updates{}; adapter: {}\n", result.steps,
                    result.best ? fmt::format(", best validation {:.4f} nats", *result.best) : "",
                    result.adapter.string()));
}

int run_train(const TrainArgs& args) {
  const TrainConfig config = resolve_config(args);
  const InterruptGuard interrupt;
  TrainProgress progress(args.output.progress);
  std::unique_ptr<ProgressBar> import;
  RunCallbacks callbacks;
  callbacks.go_on = [&] { return !interrupt.requested(); };
  callbacks.on_step = [&](const StepRecord& r) { progress.step(r); };
  callbacks.on_valid = [&](const ValidRecord& r) { progress.valid(r); };
  callbacks.on_note = [&](const std::string& text) { progress.remark(text); };
  callbacks.on_import = [&](uint64_t done, uint64_t total) {
    if (!import) import = std::make_unique<ProgressBar>("tokenising", args.output.progress, "bytes");
    import->update({static_cast<int64_t>(done), static_cast<int64_t>(total)});
    if (done >= total) import.reset();
    return !interrupt.requested();
  };
  const RunResult result = run_training(config, args.resume, callbacks);
  require(!result.interrupted, ErrorCode::kCancelled,
          "stopped after {} updates; a checkpoint was written, go on with --resume", result.steps);
  print_result(args, result);
  return kExitOk;
}

void add_plot(CLI::App& train, Action& action) {
  auto run = std::make_shared<std::filesystem::path>();
  CLI::App& plot = *train.add_subcommand("plot", "Write the curves of a run as one HTML page");
  add_path(plot, "run", *run, "Folder of the run")->required();
  plot.callback([run, &action] {
    action = [run] {
      print(plot_run(*run).string() + "\n");
      return kExitOk;
    };
  });
}

}  // namespace

void add_train_command(CLI::App& app, Action& action) {
  auto args = std::make_shared<TrainArgs>();
  CLI::App& train = *app.add_subcommand("train", "Train beacons; every key of the file is an option as well");
  train.require_subcommand(0, 1);
  add_path(train, "--config", args->config, "JSON file of the run; paths in it are relative to its folder");
  train.add_flag("--resume", args->resume, "Go on at the youngest checkpoint of the run");
  add_json_option(train, args->output);
  add_progress_option(train, args->output);
  add_plot(train, action);
  const TrainConfig defaults;
  for (const ConfigField& field : config_fields()) {
    train
        .add_option_function<std::string>(
            option_name(field),
            [args, &field](const std::string& text) { args->overrides.emplace_back(&field, text); },
            field.description)
        ->type_name("VALUE")
        ->default_str(field_to_json(defaults, field))
        ->group("Keys of the file");
  }
  add_train_make_data_command(train, action);
  train.callback([args, &train, &action] {
    if (train.get_subcommands().empty()) action = [args] { return run_train(*args); };
  });
}

}  // namespace beacon::cli
