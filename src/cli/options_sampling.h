#pragma once
// How an answer is generated.
#include <beacon/session.h>

#include <CLI/CLI.hpp>

namespace beacon::cli {

// --max-new-tokens --temperature --top-k --top-p --min-p --repetition-penalty --repetition-window --seed
// --stop
// --ignore-eos
void add_sampling_options(CLI::App& command, GenerateOptions& options);

}  // namespace beacon::cli
