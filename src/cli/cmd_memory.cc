#include "cli/commands.h"

namespace beacon::cli {

void add_memory_command(CLI::App& app, Action& action) {
  CLI::App& memory = *app.add_subcommand("memory", "Make, look into, join and cut memory files");
  memory.require_subcommand(1);
  add_memory_build_command(memory, action);
  add_memory_files_commands(memory, action);
  add_memory_edit_commands(memory, action);
}

}  // namespace beacon::cli
