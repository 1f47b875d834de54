#pragma once
// The commands of the program. Each adds itself to the parser; parsing the command line chooses one action,
// which runs afterwards and returns the exit code.
#include <CLI/CLI.hpp>
#include <functional>

namespace beacon::cli {

using Action = std::function<int()>;

void add_generate_command(CLI::App& app, Action& action);
void add_chat_command(CLI::App& app, Action& action);
void add_memory_command(CLI::App& app, Action& action);
void add_bench_command(CLI::App& app, Action& action);
void add_convert_command(CLI::App& app, Action& action);
void add_tokenize_command(CLI::App& app, Action& action);
void add_parity_command(CLI::App& app, Action& action);
void add_eval_command(CLI::App& app, Action& action);
void add_train_command(CLI::App& app, Action& action);

// Subcommands of `beacon memory`.
void add_memory_build_command(CLI::App& memory, Action& action);
void add_memory_files_commands(CLI::App& memory, Action& action);  // info, verify
void add_memory_edit_commands(CLI::App& memory, Action& action);   // join, cut

// Subcommands of `beacon eval`.
void add_eval_perplexity_command(CLI::App& eval, Action& action);
void add_eval_passkey_command(CLI::App& eval, Action& action);

// Subcommands of `beacon train`.
void add_train_make_data_command(CLI::App& train, Action& action);

}  // namespace beacon::cli
