#include "cli/chat_loop.h"
#include "cli/commands.h"
#include "cli/options_beacon.h"
#include "cli/options_model.h"
#include "cli/options_output.h"
#include "cli/options_sampling.h"

namespace beacon::cli {

void add_chat_command(CLI::App& app, Action& action) {
  auto args = std::make_shared<ChatArgs>();
  CLI::App& command =
      *app.add_subcommand("chat", "A conversation that is kept in memory; /help lists what it knows");
  add_model_options(command, args->model);
  command.add_option("--context", args->contexts, "File to read first; repeatable")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command.add_option("--system", args->system, "System message")->type_name("TEXT");
  command
      .add_option("--chat-template", args->chat_template,
                  "Form of the turns: a name, none, or auto: the model's own")
      ->type_name("NAME")
      ->capture_default_str();
  add_beacon_options(command, args->session);
  add_sampling_options(command, args->answer);
  add_progress_option(command, args->output);
  command.callback([args, &action] { action = [args] { return run_chat(*args); }; });
}

}  // namespace beacon::cli
