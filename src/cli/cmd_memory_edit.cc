// beacon memory join, beacon memory cut
#include <beacon/memory.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/ledger_report.h"
#include "cli/options_model.h"
#include "cli/options_output.h"
#include "cli/terminal.h"

namespace beacon::cli {
namespace {

struct EditArgs {
  ModelOptions model;
  OutputOptions output;
  std::vector<std::string> files;
  std::string out, title;
  bool beyond_positions = false;
  int64_t from = 0, to = 0;
};

int save_and_report(const EditArgs& args, const Memory& memory, const std::string& title) {
  memory.save(args.out, title);
  if (args.output.json)
    print_json({{"file", args.out}, {"ledger", ledger_json(memory.ledger())}});
  else
    print(fmt::format("{}\n{:<14}{}\n", ledger_table(memory.ledger()), "file", args.out));
  return kExitOk;
}

int run_join(const EditArgs& args) {
  require_writable(args.out);
  const auto model = Model::load(args.model);
  std::vector<Memory> memories;
  for (const auto& file : args.files) memories.push_back(Memory::load(file, model));
  std::vector<const Memory*> parts;
  for (const auto& memory : memories) parts.push_back(&memory);
  return save_and_report(args, Memory::join(parts, args.beyond_positions), args.title);
}

int run_cut(const EditArgs& args) {
  require_writable(args.out);
  const Memory whole = Memory::load(args.files.front(), Model::load(args.model));
  return save_and_report(args, whole.cut(args.from, args.to),
                         args.title.empty() ? whole.title() : args.title);
}

void add_common(CLI::App& command, EditArgs& args) {
  add_model_options(command, args.model);
  command.add_option("-o,--out", args.out, "Memory file to write")->type_name("PATH")->required();
  command.add_option("--title", args.title, "Title kept in the file")->type_name("TEXT");
  add_json_option(command, args.output);
}

}  // namespace

void add_memory_edit_commands(CLI::App& memory, Action& action) {
  auto join_args = std::make_shared<EditArgs>();
  CLI::App& join = *memory.add_subcommand("join", "Memories of several documents as one, in order");
  join.add_option("files", join_args->files, "Memory files")->type_name("PATH")->required();
  join.add_flag("--beyond-positions", join_args->beyond_positions,
                "Allow more positions than the model was trained on (speed tests)");
  add_common(join, *join_args);
  join.callback([join_args, &action] { action = [join_args] { return run_join(*join_args); }; });

  auto cut_args = std::make_shared<EditArgs>();
  CLI::App& cut = *memory.add_subcommand("cut", "The part of a memory that covers some of the text");
  cut.add_option("file", cut_args->files, "Memory file")->type_name("PATH")->required()->expected(1);
  cut.add_option("--from", cut_args->from, "First token of the text")->type_name("N")->capture_default_str();
  cut.add_option("--to", cut_args->to, "One past the last token of the text")->type_name("N")->required();
  add_common(cut, *cut_args);
  cut.callback([cut_args, &action] { action = [cut_args] { return run_cut(*cut_args); }; });
}

}  // namespace beacon::cli
