#include "io/convert_folders.h"

#include <algorithm>
#include <array>
#include <set>

#include "io/file_text.h"

namespace beacon {

namespace fs = std::filesystem;

void make_empty_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error && fs::is_directory(folder), ErrorCode::kIo, "cannot make the folder {}: {}",
          folder.string(), error ? error.message() : std::string("it is a file"));
  require(fs::is_empty(folder), ErrorCode::kInvalidArgument, "{} is not empty; name a new or empty folder",
          folder.string());
}

void copy_companions(const fs::path& from, const fs::path& to) {
  constexpr std::array<std::string_view, 9> kWeights = {".safetensors", ".bin", ".pt",      ".pth", ".gguf",
                                                        ".h5",          ".ot",  ".msgpack", ".onnx"};
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    const std::string extension = entry.path().extension().string();
    const bool weights = std::find(kWeights.begin(), kWeights.end(), extension) != kWeights.end();
    if (!entry.is_regular_file() || weights || name == "config.json" || name == kShardIndex) continue;
    std::error_code error;
    fs::copy_file(entry.path(), to / name, error);
    require(!error, ErrorCode::kIo, "cannot copy {} to {}: {}", entry.path().string(), to.string(),
            error.message());
  }
}

ShardList list_shards(const fs::path& folder) {
  if (fs::exists(folder / kSingleShard)) return {{kSingleShard}, std::nullopt};
  const fs::path path = folder / kShardIndex;
  Json index = parse_json_object(read_text(path), path.string());
  require(index.contains("weight_map") && index["weight_map"].is_object(), ErrorCode::kBadFile,
          "{}: expected \"weight_map\" with tensors and their files", path.string());
  std::set<std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    require(file.is_string(), ErrorCode::kBadFile, "{}: the file of tensor {} should be a string, found {}",
            path.string(), tensor, json_snippet(file));
    check_plain_name(file.get<std::string>(), path.string());
    files.insert(file.get<std::string>());
  }
  return {{files.begin(), files.end()}, std::move(index)};
}

void change_total_size(Json& index, int64_t bytes) {
  if (!index.contains("metadata") || !index["metadata"].is_object()) return;
  auto& metadata = index["metadata"];
  if (!metadata.contains("total_size") || !metadata["total_size"].is_number_integer()) return;
  metadata["total_size"] = metadata["total_size"].get<int64_t>() + bytes;
}

}  // namespace beacon
