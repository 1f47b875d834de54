// Names of beacon tensors.
#include <algorithm>
#include <array>

#include "base/check.h"
#include "io/adapter.h"

namespace beacon {
namespace {

constexpr std::string_view kUltragist = "ultragist_";
constexpr std::string_view kEmbedding = "model.beacon_embed_tokens.weight";
constexpr std::string_view kLayers = "model.layers.";

// Whether the configuration lists the projection of this tensor; nothing when no beacon tensor has such a
// name. `part` is what follows "model.layers.{i}.".
std::optional<bool> is_listed(std::string_view part, const BeaconConfig& config) {
  if (part == "self_attn.beacon_gate") return config.gate;
  const BeaconParams& p = config.params;
  const std::pair<std::string_view, bool> projections[] = {
      {"self_attn.beacon_q_proj", p.q}, {"self_attn.beacon_k_proj", p.k}, {"self_attn.beacon_v_proj", p.v},
      {"self_attn.beacon_o_proj", p.o}, {"mlp.beacon_up_proj", p.mlp},    {"mlp.beacon_down_proj", p.mlp},
  };
  for (const auto& [name, listed] : projections) {
    if (part.substr(0, name.size()) != name) continue;
    const auto ending = part.substr(name.size());
    if (ending == ".weight" || ending == ".bias") return listed;
  }
  return std::nullopt;
}

}  // namespace

bool is_beacon_tensor(std::string_view name) {
  return name.find("beacon_") != name.npos || name.find(kUltragist) != name.npos;
}

std::string canonical_beacon_name(std::string_view name) {
  std::string canonical(name);
  const size_t at = canonical.find(kUltragist);
  if (at != canonical.npos) canonical.replace(at, kUltragist.size(), "beacon_");
  return canonical;
}

void check_beacon_tensors(std::span<const TensorView> tensors, const BeaconConfig& config,
                          const std::string& what) {
  check_lora_tensors(tensors, config.lora, what);
  for (const TensorView& tensor : tensors) {
    if (tensor.name == kTokenWorth && config.attention == BeaconAttentionRule::kChosenEcho) continue;
    if (tensor.name == kEmbedding || parse_lora_tensor_name(tensor.name)) continue;
    const std::string_view name = tensor.name;
    std::optional<bool> listed;
    if (name.substr(0, kLayers.size()) == kLayers) {
      const size_t dot = name.find('.', kLayers.size());
      const auto number = name.substr(kLayers.size(), dot == name.npos ? 0 : dot - kLayers.size());
      if (!number.empty() && number.find_first_not_of("0123456789") == number.npos) {
        listed = is_listed(name.substr(dot + 1), config);
      }
    }
    require(listed.has_value(), ErrorCode::kMismatch, "{}: {} is not the name of a beacon tensor", what,
            name);
    require(
        *listed, ErrorCode::kMismatch,
        "{}: tensor {} is there, but the configuration ({}) does not list it; add it or remove the tensor",
        what, name, name.find("gate") != name.npos ? "beacon_gate" : "beacon_param");
  }
}

}  // namespace beacon
