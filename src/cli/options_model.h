#pragma once
// Which model, how it computes, how its positions are extended.
#include <beacon/options.h>

#include <CLI/CLI.hpp>

namespace beacon::cli {

// -m -a --compute --threads --rope-scaling --rope-factor --rope-theta --beacon-gate
void add_model_options(CLI::App& command, ModelOptions& options);

}  // namespace beacon::cli
