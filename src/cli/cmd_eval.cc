#include "cli/commands.h"

namespace beacon::cli {

void add_eval_command(CLI::App& app, Action& action) {
  CLI::App& eval = *app.add_subcommand("eval", "Measure what a model keeps of a long text");
  eval.require_subcommand(1);
  add_eval_perplexity_command(eval, action);
  add_eval_passkey_command(eval, action);
}

}  // namespace beacon::cli
