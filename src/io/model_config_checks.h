#pragma once
// Bounds and cross-checks shared by the parsers of configurations; internal to io.
#include <string>

#include "io/json_reader.h"
#include "io/model_config.h"

namespace beacon {

// Far above any model there is, far below what overflows when multiplied with another.
inline constexpr int64_t kMaxHidden = 1 << 20;
inline constexpr int64_t kMaxIntermediate = 1 << 24;
inline constexpr int64_t kMaxLayers = 1 << 12;
inline constexpr int64_t kMaxHeads = 1 << 14;
inline constexpr int64_t kMaxHeadDim = 1 << 14;
inline constexpr int64_t kMaxVocab = 1 << 26;
inline constexpr int64_t kMaxPositions = int64_t{1} << 40;
inline constexpr double kMaxRopeTheta = 1e15;
inline constexpr double kMaxRopeFactor = 1e6;

// Relations between the numbers of a whole configuration. Throws kBadFile.
void check_model_config(const ModelConfig& config, const std::string& what);
void check_rope_config(const RopeConfig& rope, const std::string& what);

// Reads rope_parameters or rope_scaling with rope_theta from `root`; max_position_embeddings fills what is
// left out.
RopeConfig parse_rope(const JsonReader& root, double default_theta, int64_t max_position_embeddings);
// Reads one rope dictionary ("rope_type" or "type", "factor", ...); 0 positions where no model is at hand.
RopeConfig parse_rope_dictionary(const JsonReader& dictionary, double theta, int64_t max_position_embeddings);
// The inverse of parse_rope_dictionary, rope_theta included.
Json rope_to_json(const RopeConfig& rope);

}  // namespace beacon
