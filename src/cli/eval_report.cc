#include "cli/eval_report.h"

namespace beacon::cli {

nlohmann::ordered_json interval_json(const std::optional<eval::Interval>& interval) {
  if (!interval) return nullptr;
  return {interval->low, interval->high};
}

nlohmann::ordered_json eval_head(const std::string& task, const std::string& metric, double value, int64_t n,
                                 const std::optional<eval::Interval>& ci95) {
  return {{"task", task}, {"metric", metric}, {"value", value}, {"n", n}, {"ci95", interval_json(ci95)}};
}

void add_origin(nlohmann::ordered_json& report, const Model& model, const ScoreOptions& reading,
                nlohmann::ordered_json options) {
  const ModelInfo& info = model.info();
  options["mode"] = to_string(reading.remembering);
  options["reading"] = nlohmann::ordered_json::parse(reading_options_json(model, reading));
  options["beyond_positions"] = reading.session.beacons.beyond_positions;
  options["compute"] = info.compute;
  options["isa"] = info.isa;
  options["rope"] = info.rope;
  report["options"] = std::move(options);
  report["fingerprints"] = {{"model", info.base_fingerprint},
                            {"adapter", info.adapter_fingerprint},
                            {"tokenizer", info.tokenizer_fingerprint}};
}

const char* to_string(Remembering remembering) {
  switch (remembering) {
    case Remembering::kBeacons:
      return "beacon";
    case Remembering::kEverything:
      return "full";
    case Remembering::kTail:
      return "tail";
    case Remembering::kNothing:
      return "none";
  }
  return "unknown";
}

}  // namespace beacon::cli
