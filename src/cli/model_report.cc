#include "cli/model_report.h"

#include <nlohmann/json.hpp>

#include "cli/terminal.h"

namespace beacon::cli {

nlohmann::ordered_json model_json(const ModelInfo& info) {
  return {{"family", info.family},
          {"base", info.base_fingerprint},
          {"adapter", info.adapter_fingerprint},
          {"tokenizer", info.tokenizer_fingerprint},
          {"trained_beacons", info.trained_beacons},
          {"rope", info.rope},
          {"max_positions", info.max_positions},
          {"compute", info.compute},
          {"isa", info.isa},
          {"threads", info.threads}};
}

void warn_untrained(const ModelInfo& info, const BeaconOptions& options) {
  if (!options.enabled || info.trained_beacons) return;
  note(
      "beacon: warning: the beacons are not trained: at ratio R they hold about every R-th token they "
      "condense (--adapter names trained ones)");
}

}  // namespace beacon::cli
