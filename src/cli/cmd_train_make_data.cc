#include <beacon/tokenizer.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/option_helpers.h"
#include "cli/options_output.h"
#include "cli/terminal.h"
#include "train/data/make/make_data.h"

namespace beacon::cli {
namespace {

struct MakeDataArgs {
  std::filesystem::path model;
  std::filesystem::path out;
  std::vector<std::string> books, exclude, tasks;
  train::MakeDataOptions make;
  OutputOptions output;
};

std::vector<std::filesystem::path> paths(const std::vector<std::string>& names) {
  return {names.begin(), names.end()};
}

int run_make_data(MakeDataArgs& args) {
  const InterruptGuard interrupt;
  args.make.books = paths(args.books);
  args.make.exclude = paths(args.exclude);
  if (!args.tasks.empty()) args.make.tasks.clear();
  for (const auto& name : args.tasks) args.make.tasks.push_back(train::task_from_string(name));
  const train::SampleMaker maker(Tokenizer::load(args.model), args.make);
  for (const auto& name : maker.left_out())
    note(fmt::format("beacon: warning: {} shares text with what is excluded; it is left out", name));
  ProgressBar bar("making", args.output.progress, "samples");
  const auto made = train::write_samples(maker, args.make.samples, args.out, [&](int64_t done) {
    bar.update({done, args.make.samples});
    return !interrupt.requested();
  });
  if (args.output.json) {
    print_json({{"file", args.out.string()},
                {"samples", made.samples},
                {"tokens", made.tokens},
                {"tasks", made.tasks},
                {"left_out", maker.left_out()}});
    return kExitOk;
  }
  for (const auto& [task, count] : made.tasks) print(fmt::format("{:<14}{:>9} samples\n", task, count));
  print(fmt::format("{:<14}{:>9} samples, about {} tokens\n", "in all", made.samples, made.tokens));
  return kExitOk;
}

void add_sample_options(CLI::App& command, MakeDataArgs& args) {
  train::MakeDataOptions& make = args.make;
  const auto count = [&](const char* name, int64_t& field, const char* description) {
    command.add_option(name, field, description)
        ->type_name("N")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
  };
  count("--samples", make.samples, "Samples to make");
  command
      .add_option("--recall", make.recall,
                  "Share of samples with questions; the rest is prose alone (0 to 1)")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->capture_default_str();
  std::string names;
  for (const auto task : train::all_tasks())
    names += (names.empty() ? "" : ", ") + std::string(to_string(task));
  command
      .add_option("--tasks", args.tasks,
                  "Kinds of questions, several between commas, of " + names +
                      "; named twice, twice as often "
                      "(default: all)")
      ->type_name("TASK[,TASK]")
      ->delimiter(',');
  count("--min-length", make.min_length,
        "Tokens of a sample, at least; a text to be written again may be shorter");
  count("--max-length", make.max_length, "Tokens of a sample, at most");
  count("--window", make.window,
        "Window of the beacons to be trained; what is to be written again lies further back");
  command.add_flag("--pairs", make.pairs, "Write questions as input and output, without a chat");
  command.add_option("--seed", make.seed, "Seed of everything that is drawn")
      ->type_name("N")
      ->capture_default_str();
}

}  // namespace

void add_train_make_data_command(CLI::App& train, Action& action) {
  auto args = std::make_shared<MakeDataArgs>();
  CLI::App& command = *train.add_subcommand("make-data", "Make training samples of plain books");
  add_path(command, "-m,--model", args->model,
           "Model whose tokens are counted: folder, GGUF file or tokenizer.json")
      ->required();
  command
      .add_option("--books", args->books, "Folders of .txt files, or text files; may be given several times")
      ->type_name("PATH")
      ->required();
  command
      .add_option(
          "--exclude", args->exclude,
          "Texts that must not enter, files or folders: books that share passages with them are left out")
      ->type_name("PATH");
  add_path(command, "-o,--out", args->out, "JSONL file to write")->required();
  add_sample_options(command, *args);
  add_json_option(command, args->output);
  add_progress_option(command, args->output);
  command.callback([args, &action] { action = [args] { return run_make_data(*args); }; });
}

}  // namespace beacon::cli
