// Merged checkpoint to base and adapter, and back.
#include <map>

#include "base/log.h"
#include "io/adapter.h"
#include "io/checkpoint.h"
#include "io/convert.h"
#include "io/convert_folders.h"
#include "io/convert_lora.h"
#include "io/file_text.h"

namespace beacon {
namespace {

namespace fs = std::filesystem;

// Custom code of the original ("auto_map") belongs to the merged form as well.
bool belongs_to_beacon(const std::string& key, const OrderedJson& value, const std::string& prefix) {
  if (key.compare(0, prefix.size(), prefix) == 0) return true;
  const std::string text = key == "auto_map" ? value.dump() : std::string();
  return text.find("beacon") != text.npos || text.find("ultragist") != text.npos;
}

// Takes the beacon keys out of `config` and returns what the merge needs to put them back.
OrderedJson take_beacon_keys(OrderedJson& config, const std::string& prefix) {
  OrderedJson merged = {
      {"prefix", prefix}, {"key_order", OrderedJson::array()}, {"config", OrderedJson::object()}};
  OrderedJson rest = OrderedJson::object();
  for (const auto& [key, value] : config.items()) {
    merged["key_order"].push_back(key);
    (belongs_to_beacon(key, value, prefix) ? merged["config"] : rest)[key] = value;
  }
  config = std::move(rest);
  return merged;
}

// Writes the base tensors of every shard and gathers the beacon ones.
struct SplitShards {
  std::vector<SafetensorsFile> files;  // keeps the mappings alive
  std::vector<TensorView> beacons;     // canonical names
  Json shard_of = Json::object();      // canonical name -> file
};

SplitShards write_base_shards(const fs::path& from, const fs::path& to, ShardList& shards) {
  SplitShards split;
  for (const std::string& name : shards.files) {
    split.files.push_back(SafetensorsFile::open(from / name));
    std::vector<TensorView> base;
    for (TensorView tensor : split.files.back().tensors()) {
      if (!is_beacon_tensor(tensor.name)) {
        base.push_back(std::move(tensor));
        continue;
      }
      if (shards.index) {
        (*shards.index)["weight_map"].erase(tensor.name);
        change_total_size(*shards.index, -static_cast<int64_t>(tensor.bytes.size()));
      }
      tensor.name = canonical_beacon_name(tensor.name);
      split.shard_of[tensor.name] = name;
      split.beacons.push_back(std::move(tensor));
    }
    if (!base.empty()) write_safetensors(to / name, base, split.files.back().metadata());
  }
  return split;
}

std::string original_name(const std::string& canonical, const std::string& prefix) {
  std::string name = canonical;
  const size_t at = name.find("beacon_");
  if (at != name.npos) name.replace(at, std::string_view("beacon_").size(), prefix);
  return name;
}

// A beacon projection has the shape of the base projection it is a copy of.
void check_fits(const TensorView& tensor, const Checkpoint& base) {
  if (const auto lora = parse_lora_tensor_name(tensor.name)) return check_lora_fits(tensor, *lora, base);
  std::vector<int64_t> expected;
  if (tensor.name == "model.beacon_embed_tokens.weight") {
    expected = {1, base.config().hidden_size};
  } else if (tensor.name == kTokenWorth) {
    expected = {base.config().vocab_size};
  } else if (tensor.name.find("beacon_gate") != tensor.name.npos) {
    expected = {base.config().num_attention_heads};
  } else {
    const TensorView* twin = base.find(original_name(tensor.name, ""));
    require(twin != nullptr, ErrorCode::kMismatch, "the adapter has {}, but the base {} has no {}",
            tensor.name, base.path().string(), original_name(tensor.name, ""));
    expected = twin->shape;
  }
  require(tensor.shape == expected, ErrorCode::kMismatch,
          "tensor {} should have shape {} to fit {}, found {}", tensor.name, shape_to_string(expected),
          base.path().string(), shape_to_string(tensor.shape));
}

// What beacon_config.json remembers of a merged form, or what a new adapter gets instead.
struct MergedForm {
  std::string prefix = "beacon_";
  OrderedJson config = OrderedJson::object();
  std::vector<std::string> key_order;
  Json shards = Json::object();
};

MergedForm read_merged_form(const Adapter& adapter) {
  MergedForm form;
  const std::string what = (adapter.path() / "beacon_config.json").string();
  const OrderedJson object =
      parse_ordered_json_object(read_text(adapter.path() / "beacon_config.json"), what);
  const auto merged = object.find("merged");
  if (merged == object.end()) {
    BeaconConfig config = adapter.config();
    config.lora.reset();  // becomes part of the weights
    form.config = OrderedJson::parse(to_json(config));
    return form;
  }
  require(merged->is_object() && merged->contains("config") && (*merged)["config"].is_object() &&
              merged->contains("key_order") && (*merged)["key_order"].is_array() &&
              merged->contains("shards") && (*merged)["shards"].is_object(),
          ErrorCode::kBadFile, "{}: \"merged\" should hold prefix, key_order, config and shards", what);
  const auto prefix = merged->find("prefix");
  require(prefix != merged->end() && (*prefix == "beacon_" || *prefix == "ultragist_"), ErrorCode::kBadFile,
          "{}: \"merged\": prefix should be beacon_ or ultragist_", what);
  form.prefix = prefix->get<std::string>();
  form.config = (*merged)["config"];
  for (const OrderedJson& key : (*merged)["key_order"]) {
    require(key.is_string(), ErrorCode::kBadFile, "{}: \"merged\": key_order should list strings", what);
    form.key_order.push_back(key.get<std::string>());
  }
  for (const auto& [tensor, file] : (*merged)["shards"].items()) {
    require(file.is_string(), ErrorCode::kBadFile, "{}: \"merged\": the shard of {} should be a string", what,
            tensor);
    check_plain_name(file.get<std::string>(), what);
    form.shards[tensor] = file.get<std::string>();
  }
  return form;
}

OrderedJson merge_keys(const OrderedJson& base, const MergedForm& form) {
  OrderedJson out = OrderedJson::object();
  for (const std::string& key : form.key_order) {
    if (form.config.contains(key))
      out[key] = form.config[key];
    else if (base.contains(key))
      out[key] = base[key];
  }
  for (const OrderedJson* rest : {&base, &form.config}) {
    for (const auto& [key, value] : rest->items()) {
      if (!out.contains(key)) out[key] = value;
    }
  }
  return out;
}

void write_merged_shards(const fs::path& base, const Adapter& adapter, const MergedForm& form,
                         const fs::path& out) {
  ShardList shards = list_shards(base);
  // In a single file everything lies together, whatever the shards were.
  std::map<std::string, std::vector<TensorView>> added;
  for (TensorView tensor : adapter.tensors()) {
    if (parse_lora_tensor_name(tensor.name)) continue;
    const std::string file = shards.index && form.shards.contains(tensor.name)
                                 ? form.shards[tensor.name].get<std::string>()
                                 : shards.files.front();
    tensor.name = original_name(tensor.name, form.prefix);
    if (shards.index) {
      (*shards.index)["weight_map"][tensor.name] = file;
      change_total_size(*shards.index, static_cast<int64_t>(tensor.bytes.size()));
    }
    added[file].push_back(std::move(tensor));
  }
  for (const std::string& name : shards.files) {
    const SafetensorsFile file = SafetensorsFile::open(base / name);
    std::vector<TensorView> tensors = file.tensors();
    const auto changed_bytes = merge_lora(tensors, adapter);
    const auto extra = added.find(name);
    if (extra != added.end()) {
      tensors.insert(tensors.end(), extra->second.begin(), extra->second.end());
      added.erase(extra);
    }
    write_safetensors(out / name, tensors, file.metadata());
  }
  for (const auto& [name, tensors] : added) write_safetensors(out / name, tensors, {{"format", "pt"}});
  if (shards.index) write_text(out / kShardIndex, shards.index->dump(2) + "\n");
}

}  // namespace

void split_merged(const fs::path& checkpoint, const fs::path& out_base, const fs::path& out_adapter) {
  const auto merged = Checkpoint::open(checkpoint);
  require(merged->gguf() == nullptr && merged->beacon() && merged->has_beacon_tensors(),
          ErrorCode::kInvalidArgument,
          "{} has no beacon tensors to split off; expected a merged Hugging Face folder",
          checkpoint.string());
  make_empty_folder(out_base);
  make_empty_folder(out_adapter);

  ShardList shards = list_shards(checkpoint);
  const SplitShards split = write_base_shards(checkpoint, out_base, shards);
  if (shards.index) write_text(out_base / kShardIndex, shards.index->dump(2) + "\n");
  copy_companions(checkpoint, out_base);

  OrderedJson config = parse_ordered_json_object(read_text(checkpoint / "config.json"), "config.json");
  OrderedJson form = take_beacon_keys(config, merged->beacon()->prefix);
  form["shards"] = split.shard_of;
  BeaconConfig adapter_config = *merged->beacon();
  // The base alone no longer says which YaRN formula the beacons were trained with.
  if (merged->config().rope.original_beacon_yarn) adapter_config.rope = merged->config().rope;
  const OrderedJson extra = {{"merged", std::move(form)}};
  write_adapter(out_adapter, adapter_config, {merged->fingerprint(), std::nullopt}, split.beacons,
                extra.dump());
  write_text(out_base / "config.json", config.dump(2) + "\n");
}

void merge(const fs::path& base, const fs::path& adapter, const fs::path& out) {
  const auto base_checkpoint = Checkpoint::open(base);
  const auto opened = Adapter::open(adapter);
  require(base_checkpoint->gguf() == nullptr, ErrorCode::kInvalidArgument,
          "{} is a GGUF file; convert it to safetensors before merging", base.string());
  require(!base_checkpoint->beacon() && !base_checkpoint->has_beacon_tensors(), ErrorCode::kMismatch,
          "{} already has beacon keys or tensors; expected a plain base", base.string());
  for (const TensorView& tensor : opened->tensors()) check_fits(tensor, *base_checkpoint);
  const auto& expected = opened->identity().base_fingerprint;
  if (expected && *expected != base_checkpoint->fingerprint()) {
    log_warning(fmt::format("the adapter {} was made for the base {}, merging it with {}", adapter.string(),
                            *expected, base_checkpoint->fingerprint()));
  }
  const MergedForm form = read_merged_form(*opened);
  make_empty_folder(out);
  write_merged_shards(base, *opened, form, out);
  copy_companions(base, out);
  const OrderedJson config = parse_ordered_json_object(read_text(base / "config.json"), "config.json");
  write_text(out / "config.json", merge_keys(config, form).dump(2) + "\n");
}

}  // namespace beacon
