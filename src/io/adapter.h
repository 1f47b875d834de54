#pragma once
// An adapter: the beacon tensors of a model without the model.
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/beacon_config.h"
#include "io/safetensors.h"

namespace beacon {

// What an adapter was made for; both from Checkpoint::fingerprint() and the tokenizer's. Absent in hand-made
// adapters.
struct AdapterIdentity {
  std::optional<std::string> base_fingerprint;
  std::optional<std::string> tokenizer_fingerprint;
};

// f32 [V]: the worth of each token, where chosen echoes stand (train/data/token_worth.h).
inline constexpr const char* kTokenWorth = "model.beacon_token_worth";

// A folder with beacon_config.json and beacon.safetensors. Const after open(); keeps its file mapped.
// Tensors: model.beacon_embed_tokens.weight [1, D],
// model.layers.{i}.self_attn.beacon_{q,k,v,o}_proj.{weight,bias},
// model.layers.{i}.mlp.beacon_{up,down}_proj.weight, model.layers.{i}.self_attn.beacon_gate [N], kTokenWorth
// and LoRA under the names of io/lora.h; any may be absent (initialised from the base then). Shapes are
// checked by the model, which knows the base.
class Adapter {
 public:
  // Throws kNotFound, kBadFile, kUnsupported, or kMismatch when a tensor has a name that is not a beacon
  // tensor's or belongs to a projection that the configuration does not list, or as check_lora_tensors().
  // ultragist_ is spelled beacon_.
  static std::shared_ptr<const Adapter> open(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  const BeaconConfig& config() const { return config_; }
  const AdapterIdentity& identity() const { return identity_; }
  const TensorView* find(std::string_view name) const;
  const std::vector<TensorView>& tensors() const { return tensors_; }
  // 32 hex digits over the tensors (names, dtypes, shapes, three samples of 4 KiB each), as
  // Checkpoint::fingerprint(), and over the scale of LoRA if there is one.
  std::string fingerprint() const;

 private:
  Adapter() = default;
  std::filesystem::path path_;
  BeaconConfig config_;
  AdapterIdentity identity_;
  std::optional<SafetensorsFile> file_;
  std::vector<TensorView> tensors_;
};

// Writes beacon.safetensors and beacon_config.json, each atomically, into `folder` (made when absent).
// `extra_json`, if not empty, is a JSON object whose keys are added to beacon_config.json.
void write_adapter(const std::filesystem::path& folder, const BeaconConfig& config,
                   const AdapterIdentity& identity, std::span<const TensorView> tensors,
                   std::string_view extra_json = {});

// Whether a tensor belongs to the beacon (either prefix), and its name with the prefix beacon_.
bool is_beacon_tensor(std::string_view name);
std::string canonical_beacon_name(std::string_view name);

// Throws kMismatch when a beacon tensor has an unknown name or a projection that the configuration does not
// list, or as check_lora_tensors().
void check_beacon_tensors(std::span<const TensorView> tensors, const BeaconConfig& config,
                          const std::string& what);

}  // namespace beacon
