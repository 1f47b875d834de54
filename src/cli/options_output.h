#pragma once
// How results and progress are shown.
#include <CLI/CLI.hpp>

#include "cli/progress_bar.h"

namespace beacon::cli {

struct OutputOptions {
  bool json = false;
  ProgressMode progress = ProgressMode::kAuto;
};

// --json
void add_json_option(CLI::App& command, OutputOptions& options);
// --progress
void add_progress_option(CLI::App& command, OutputOptions& options);

}  // namespace beacon::cli
