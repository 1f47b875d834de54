#pragma once
// What every evaluation reports besides its numbers.
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "engine/scoring.h"
#include "eval/statistics.h"

namespace beacon::cli {

// The head of a report: task, metric, value, n and ci95, which is [low, high] or null.
nlohmann::ordered_json eval_head(const std::string& task, const std::string& metric, double value, int64_t n,
                                 const std::optional<eval::Interval>& ci95);

nlohmann::ordered_json interval_json(const std::optional<eval::Interval>& interval);

// Adds "options" (those given, then how the text was read with every default filled in) and "fingerprints" of
// model, adapter and tokenizer.
void add_origin(nlohmann::ordered_json& report, const Model& model, const ScoreOptions& reading,
                nlohmann::ordered_json options);

// beacon, full, tail, none.
const char* to_string(Remembering remembering);

}  // namespace beacon::cli
