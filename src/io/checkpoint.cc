#include "io/checkpoint.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "base/check.h"
#include "io/adapter.h"
#include "io/file_text.h"
#include "io/fingerprint.h"
#include "io/gguf_parser.h"
#include "io/json_reader.h"
#include "io/model_config_checks.h"

namespace beacon {
namespace {

namespace fs = std::filesystem;
constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kRopeFactors = "rope_freqs.weight";

std::vector<fs::path> files_with_extension(const fs::path& folder, std::string_view extension) {
  std::vector<fs::path> found;
  std::error_code error;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (it->path().extension() == extension) found.push_back(it->path());
  }
  require(!error, ErrorCode::kIo, "cannot list {}: {}", folder.string(), error.message());
  std::sort(found.begin(), found.end());
  return found;
}

// weight_map of the index: tensor name -> file name.
std::vector<std::pair<std::string, std::string>> read_weight_map(const fs::path& index) {
  const std::string what = index.string();
  const Json object = parse_json_object(read_text(index), what);
  const auto it = object.find("weight_map");
  require(it != object.end() && it->is_object() && !it->empty(), ErrorCode::kBadFile,
          "{}: expected \"weight_map\" with tensors and their files", what);
  std::vector<std::pair<std::string, std::string>> map;
  for (const auto& [tensor, file] : it->items()) {
    require(file.is_string(), ErrorCode::kBadFile, "{}: the file of tensor {} should be a string, found {}",
            what, tensor, json_snippet(file));
    map.emplace_back(tensor, file.get<std::string>());
    check_plain_name(map.back().second, what);
  }
  return map;
}

// A string, or a list of {name, template} of which "default" is meant.
std::optional<std::string> template_of(const Json& config, const std::string& what) {
  const auto it = config.find("chat_template");
  if (it == config.end() || it->is_null()) return std::nullopt;
  if (it->is_string()) return it->get<std::string>();
  require(it->is_array(), ErrorCode::kBadFile, "{}: \"chat_template\" should be a string or a list, found {}",
          what, json_snippet(*it));
  for (const Json& entry : *it) {
    require(entry.is_object(), ErrorCode::kBadFile, "{}: \"chat_template\" should list objects, found {}",
            what, json_snippet(entry));
    const JsonReader reader(entry, what + ": chat_template");
    if (reader.string("name") == "default") return reader.string("template");
  }
  return std::nullopt;
}

std::optional<std::string> read_chat_template(const fs::path& folder) {
  if (fs::exists(folder / "chat_template.jinja")) return read_text(folder / "chat_template.jinja");
  const fs::path config = folder / "tokenizer_config.json";
  if (!fs::exists(config)) return std::nullopt;
  return template_of(parse_json_object(read_text(config), config.string()), config.string());
}

// What makes two sets of weights compute different things.
std::string essentials(const ModelConfig& c) {
  RopeConfig rope = c.rope;
  rope.original_beacon_yarn = false;  // known only while beacon keys are there
  return fmt::format("{} {} {} {} {} {} {} {} {} {:.9g} {} {} {} {} {} {}", to_string(c.family),
                     c.hidden_size, c.intermediate_size, c.num_hidden_layers, c.num_attention_heads,
                     c.num_key_value_heads, c.head_dim, c.vocab_size, c.max_position_embeddings,
                     c.rms_norm_eps, rope_to_json(rope).dump(), c.qkv_bias, c.o_bias, c.mlp_bias,
                     c.tie_word_embeddings, c.sliding_window.value_or(0));
}

}  // namespace

std::shared_ptr<const Checkpoint> Checkpoint::open(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  require(fs::exists(status), ErrorCode::kNotFound,
          "{} does not exist; expected a Hugging Face folder or a .gguf file", path.string());
  std::shared_ptr<Checkpoint> checkpoint(new Checkpoint);
  checkpoint->path_ = path;
  if (fs::is_directory(status)) {
    checkpoint->open_folder();
  } else {
    checkpoint->open_gguf(path);
  }
  const ModelConfig& c = checkpoint->config_;
  checkpoint->get("model.embed_tokens.weight", std::vector<int64_t>{c.vocab_size, c.hidden_size});
  return checkpoint;
}

void Checkpoint::open_folder() {
  const bool has_weights = fs::exists(path_ / kSingle) || fs::exists(path_ / kIndex);
  if (!has_weights) {
    const auto gguf_files = files_with_extension(path_, ".gguf");
    require(gguf_files.size() < 2, ErrorCode::kBadFile, "{} holds {} .gguf files; name one of them",
            path_.string(), gguf_files.size());
    if (gguf_files.size() == 1) return open_gguf(gguf_files[0]);
    require(files_with_extension(path_, ".bin").empty(), ErrorCode::kUnsupported,
            "{} holds only .bin weights; save the model as safetensors first (save_pretrained with "
            "safe_serialization)",
            path_.string());
    fail(ErrorCode::kNotFound, "{}: expected {}, {} or a .gguf file", path_.string(), kSingle, kIndex);
  }
  const fs::path config_path = path_ / "config.json";
  const std::string config_text = read_text(config_path);
  config_ = parse_model_config(config_text, config_path.string());
  beacon_ = parse_beacon_config(config_text, config_path.string());
  require(
      !beacon_ || !beacon_->lora, ErrorCode::kUnsupported,
      "{}: expected no \"beacon_lora\", found one; LoRA is read from an adapter, or merged into the weights "
      "by beacon convert merge",
      config_path.string());
  // The original's own YaRN formula was used wherever its keys are.
  if (beacon_ && config_.rope.kind == RopeKind::kYarn) config_.rope.original_beacon_yarn = true;
  const fs::path generation_path = path_ / "generation_config.json";
  if (fs::exists(generation_path)) {
    apply_generation_config(read_text(generation_path), config_, generation_path.string());
  }
  load_shards();
  chat_template_ = read_chat_template(path_);

  std::vector<TensorView> beacons;
  for (const auto& [name, tensor] : tensors_) {
    if (is_beacon_tensor(name)) beacons.push_back(tensor);
  }
  require(beacons.empty() || beacon_, ErrorCode::kMismatch,
          "{} has beacon tensors, but {} has no beacon keys", path_.string(), config_path.string());
  if (beacon_) check_beacon_tensors(beacons, *beacon_, path_.string());
}

void Checkpoint::load_shards() {
  if (fs::exists(path_ / kSingle)) {
    shards_.push_back(SafetensorsFile::open(path_ / kSingle));
    for (const TensorView& tensor : shards_.back().tensors()) add(tensor, kSingle);
    return;
  }
  const auto map = read_weight_map(path_ / kIndex);
  std::set<std::string> files;
  for (const auto& entry : map) files.insert(entry.second);
  std::unordered_map<std::string, size_t> shard_of_file;
  for (const std::string& file : files) {
    require(fs::exists(path_ / file), ErrorCode::kNotFound, "{}: the shard {} named by {} is missing",
            path_.string(), file, kIndex);
    shard_of_file[file] = shards_.size();
    shards_.push_back(SafetensorsFile::open(path_ / file));
    for (const TensorView& tensor : shards_.back().tensors()) add(tensor, file);
  }
  for (const auto& [tensor, file] : map) {
    require(shards_[shard_of_file[file]].find(tensor) != nullptr, ErrorCode::kBadFile,
            "{}: {} places tensor {} in {}, but it is not there", path_.string(), kIndex, tensor, file);
  }
}

void Checkpoint::add(TensorView tensor, const std::string& file) {
  if (is_beacon_tensor(tensor.name)) tensor.name = canonical_beacon_name(tensor.name);
  const std::string name = tensor.name;
  require(tensors_.emplace(name, std::move(tensor)).second, ErrorCode::kBadFile,
          "{}: tensor {} comes twice, the second time in {}", path_.string(), name, file);
}

void Checkpoint::open_gguf(const fs::path& file) {
  gguf_ = GgufFile::open(file);
  config_ = parse_model_config(*gguf_);
  permuted_qk_ = config_.family == Family::kLlama;
  for (TensorView tensor : gguf_->tensors()) {
    if (tensor.name == kRopeFactors) continue;
    tensor.name = hf_name_of_gguf(tensor.name);
    add(std::move(tensor), file.string());
  }
  for (const auto& [name, kind] : gguf_->unsupported()) unsupported_[hf_name_of_gguf(name)] = kind;
  if (const auto text = gguf_->get_string("tokenizer.chat_template")) chat_template_ = std::string(*text);
}

const TensorView* Checkpoint::find(std::string_view hf_name) const {
  const std::string name = is_beacon_tensor(hf_name) ? canonical_beacon_name(hf_name) : std::string(hf_name);
  const auto it = tensors_.find(name);
  if (it != tensors_.end()) return &it->second;
  const auto other = unsupported_.find(name);
  require(other == unsupported_.end(), ErrorCode::kUnsupported, "{}: tensor {} is of kind {}; supported: {}",
          path_.string(), name, other == unsupported_.end() ? "" : other->second, kGgufSupportedKinds);
  return nullptr;
}

const TensorView& Checkpoint::get(std::string_view hf_name, std::span<const int64_t> shape) const {
  const TensorView* tensor = find(hf_name);
  require(tensor != nullptr, ErrorCode::kNotFound, "{}: tensor {} of shape {} is missing", path_.string(),
          hf_name, shape_to_string(shape));
  require(std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end()),
          ErrorCode::kMismatch, "{}: tensor {} should have shape {}, found {}", path_.string(), hf_name,
          shape_to_string(shape), shape_to_string(tensor->shape));
  return *tensor;
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> list;
  for (const auto& entry : tensors_) list.push_back(entry.first);
  for (const auto& entry : unsupported_) list.push_back(entry.first);
  std::sort(list.begin(), list.end());
  return list;
}

bool Checkpoint::has_beacon_tensors() const {
  return std::any_of(tensors_.begin(), tensors_.end(),
                     [](const auto& entry) { return is_beacon_tensor(entry.first); });
}

std::optional<std::vector<float>> Checkpoint::rope_factors() const {
  const TensorView* tensor = gguf_ ? gguf_->find(kRopeFactors) : nullptr;
  if (tensor == nullptr) return std::nullopt;
  require(tensor->dtype == DType::kF32 && tensor->shape == std::vector<int64_t>{config_.head_dim / 2},
          ErrorCode::kMismatch, "{}: {} should be F32 [{}], found {} {}", path_.string(), kRopeFactors,
          config_.head_dim / 2, dtype_info(tensor->dtype).name, shape_to_string(tensor->shape));
  std::vector<float> factors(static_cast<size_t>(tensor->elements()));
  std::memcpy(factors.data(), tensor->bytes.data(), tensor->bytes.size());
  for (const float f : factors) {
    require(std::isfinite(f) && f > 0, ErrorCode::kBadFile, "{}: {} should hold positive numbers, found {}",
            path_.string(), kRopeFactors, f);
  }
  return factors;
}

std::string Checkpoint::fingerprint() const {
  std::vector<const TensorView*> base;
  for (const auto& [name, tensor] : tensors_) {
    if (!is_beacon_tensor(name)) base.push_back(&tensor);
  }
  return fingerprint_tensors(essentials(config_), base);
}

std::string Checkpoint::beacon_fingerprint() const {
  std::vector<const TensorView*> beacons;
  for (const auto& [name, tensor] : tensors_) {
    if (is_beacon_tensor(name)) beacons.push_back(&tensor);
  }
  return fingerprint_tensors("beacon", beacons);
}

}  // namespace beacon
