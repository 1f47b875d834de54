#pragma once
// From a learner to an adapter folder that every other command reads.
#include <filesystem>
#include <string>

#include "train/config.h"
#include "train/learner.h"

namespace beacon {

// Writes beacon.safetensors (matrices and embedding in bf16) and beacon_config.json, each atomically.
// `training_json` is an object, kept under the key "training".
void export_adapter(const std::filesystem::path& folder, const TrainConfig& config, const Learner& learner,
                    const std::string& training_json);

}  // namespace beacon
