#include "cli/options_output.h"

#include "cli/option_helpers.h"

namespace beacon::cli {

void add_json_option(CLI::App& command, OutputOptions& options) {
  command.add_flag("--json", options.json, "Print results as JSON");
}

void add_progress_option(CLI::App& command, OutputOptions& options) {
  add_choice<ProgressMode>(
      command, "--progress", options.progress,
      {{"auto", ProgressMode::kAuto}, {"always", ProgressMode::kAlways}, {"never", ProgressMode::kNever}},
      "Show progress on standard error; auto = on a terminal");
}

}  // namespace beacon::cli
