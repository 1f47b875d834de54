#pragma once
// What answered: the model's identity and arithmetic, for JSON results.
#include <beacon/model.h>

#include <nlohmann/json_fwd.hpp>

namespace beacon::cli {

nlohmann::ordered_json model_json(const ModelInfo& info);

}  // namespace beacon::cli
