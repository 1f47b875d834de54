#pragma once
// Parts of the conversions that both directions use; internal to io.
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/json_reader.h"

namespace beacon {

inline constexpr const char* kSingleShard = "model.safetensors";
inline constexpr const char* kShardIndex = "model.safetensors.index.json";

// Makes a folder; throws kInvalidArgument when it exists and holds something.
void make_empty_folder(const std::filesystem::path& folder);

// Copies every regular file that is neither weights, nor config.json, nor the index of the shards.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to);

// The files of weights of a Hugging Face folder in order, and its index when it has shards.
struct ShardList {
  std::vector<std::string> files;
  std::optional<Json> index;
};
ShardList list_shards(const std::filesystem::path& folder);

// Adds `bytes` (may be negative) to metadata.total_size of an index, if it has one.
void change_total_size(Json& index, int64_t bytes);

}  // namespace beacon
