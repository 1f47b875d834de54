#pragma once
// What answered: the model's identity and arithmetic.
#include <beacon/model.h>

#include <nlohmann/json_fwd.hpp>

namespace beacon::cli {

nlohmann::ordered_json model_json(const ModelInfo& info);

// Says on standard error when a text is condensed by beacons that were never trained: the answers will show
// it.
void warn_untrained(const ModelInfo& info, const BeaconOptions& options);

}  // namespace beacon::cli
