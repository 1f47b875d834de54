#include "io/adapter.h"

#include <set>

#include "base/check.h"
#include "io/file_text.h"
#include "io/fingerprint.h"
#include "io/json_reader.h"

namespace beacon {
namespace {

constexpr const char* kConfigName = "beacon_config.json";
constexpr const char* kTensorsName = "beacon.safetensors";

}  // namespace

std::shared_ptr<const Adapter> Adapter::open(const std::filesystem::path& folder) {
  require(std::filesystem::is_directory(folder), ErrorCode::kNotFound,
          "{} is not a folder; expected one with {} and {}", folder.string(), kConfigName, kTensorsName);
  std::shared_ptr<Adapter> adapter(new Adapter);
  adapter->path_ = folder;
  const std::string what = (folder / kConfigName).string();
  const std::string text = read_text(folder / kConfigName);
  const auto config = parse_beacon_config(text, what);
  require(config.has_value(), ErrorCode::kBadFile,
          "{}: expected beacon_ keys (beacon_window, beacon_ratio, ...), found none", what);
  adapter->config_ = *config;
  const Json object = parse_json_object(text, what);
  const JsonReader reader(object, what);
  adapter->identity_ = {reader.string("base_fingerprint"), reader.string("tokenizer_fingerprint")};

  adapter->file_ = SafetensorsFile::open(folder / kTensorsName);
  adapter->tensors_ = adapter->file_->tensors();
  std::set<std::string> names;
  for (TensorView& tensor : adapter->tensors_) {
    tensor.name = canonical_beacon_name(tensor.name);
    require(names.insert(tensor.name).second, ErrorCode::kBadFile, "{}: tensor {} comes twice",
            (folder / kTensorsName).string(), tensor.name);
  }
  check_beacon_tensors(adapter->tensors_, adapter->config_, folder.string());
  return adapter;
}

const TensorView* Adapter::find(std::string_view name) const {
  for (const TensorView& tensor : tensors_) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

std::string Adapter::fingerprint() const {
  std::vector<const TensorView*> list;
  for (const TensorView& tensor : tensors_) list.push_back(&tensor);
  // The tensors do not say how strongly LoRA is added.
  return fingerprint_tensors(
      config_.lora ? fmt::format("beacon, LoRA times {:.17g}", config_.lora->scale()) : "beacon", list);
}

void write_adapter(const std::filesystem::path& folder, const BeaconConfig& config,
                   const AdapterIdentity& identity, std::span<const TensorView> tensors,
                   std::string_view extra_json) {
  validate(config, "adapter");
  check_beacon_tensors(tensors, config, folder.string());
  OrderedJson json = OrderedJson::parse(to_json(config));
  if (identity.base_fingerprint) json["base_fingerprint"] = *identity.base_fingerprint;
  if (identity.tokenizer_fingerprint) json["tokenizer_fingerprint"] = *identity.tokenizer_fingerprint;
  if (!extra_json.empty()) json.update(parse_ordered_json_object(extra_json, "extra keys"));

  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require(!error, ErrorCode::kIo, "cannot make the folder {}: {}", folder.string(), error.message());
  // The configuration last: a folder with one is complete.
  write_safetensors(folder / kTensorsName, tensors, {{"format", "pt"}});
  write_text(folder / kConfigName, json.dump(2) + "\n");
}

}  // namespace beacon
