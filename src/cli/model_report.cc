#include "cli/model_report.h"

#include <nlohmann/json.hpp>

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

}  // namespace beacon::cli
