#pragma once
// How a text is condensed.
#include <beacon/options.h>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

namespace beacon::cli {

// --window --stride --ratio --ratio-mix --sink --placement --attention --no-attend-prev --parallel
// --skip-first --skip-last --no-beacons --beyond-positions --expected-tokens --beacon-seed --memory-type
void add_beacon_options(CLI::App& command, SessionOptions& options);

// --attention alone.
CLI::Option* add_attention_option(CLI::App& command, std::optional<std::string>& attention);

// --memory-type alone.
CLI::Option* add_memory_type_option(CLI::App& command, MemoryType& type);

// Throws CLI::ValidationError when one of the options above but --beyond-positions was given: a memory file
// brings its own.
void refuse_beacon_options(const CLI::App& command);

// "8", "2,4,8" or "auto" (all powers of two from 2 to 128 with adapt-1024). Throws CLI::ValidationError.
void set_ratio(BeaconOptions& options, const std::string& text);

}  // namespace beacon::cli
