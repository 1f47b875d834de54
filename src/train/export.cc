#include "train/export.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "io/adapter.h"
#include "ops/tensor_io.h"

namespace beacon {
namespace {

BeaconConfig beacon_config(const TrainConfig& c, const Learner& learner) {
  BeaconConfig out;
  out.window = c.window;
  out.stride = c.stride;
  out.sink_size = c.sink;
  out.placement = c.placement == "append" ? BeaconPlacement::kAppend : BeaconPlacement::kInterleave;
  for (const auto rule :
       {BeaconAttentionRule::kFullCoverage, BeaconAttentionRule::kStepExpansion,
        BeaconAttentionRule::kSegmentation, BeaconAttentionRule::kEcho, BeaconAttentionRule::kChosenEcho}) {
    if (to_string(rule) == c.attention) out.attention = rule;
  }
  out.attend_prev = c.attend_prev;
  // Training draws at random; reading takes the smallest ratio that holds the text, or none where the base
  // holds it raw.
  out.ratios.assign(c.ratios.begin(), c.ratios.end());
  if (std::find(out.ratios.begin(), out.ratios.end(), 0) == out.ratios.end())
    out.ratios.insert(out.ratios.begin(), 0);
  out.ratio_mix = RatioMix::kAdapt;
  for (const std::string& name : c.parameters) {
    out.params.q |= name == "q";
    out.params.k |= name == "k";
    out.params.v |= name == "v";
    out.params.o |= name == "o";
    out.params.mlp |= name == "mlp";
  }
  out.gate = c.gate.has_value();
  out.lora = trained_lora(c);
  out.embed_init = c.embed_init == "bos" ? BeaconEmbedInit::kBos : BeaconEmbedInit::kEos;
  out.rope = learner.model().beacons.rope;
  return out;
}

}  // namespace

void export_adapter(const std::filesystem::path& folder, const TrainConfig& config, const Learner& learner,
                    const std::string& training_json) {
  auto tensors = adapter_tensors(learner.network().parameters(), at::kBFloat16);
  if (learner.window().attention == BeaconAttention::kChosenEcho)
    tensors.emplace_back(kTokenWorth, learner.token_worth());
  std::vector<TensorView> views;
  for (const auto& [name, tensor] : tensors) views.push_back(ops::view_of(name, tensor));
  AdapterIdentity identity;
  identity.base_fingerprint = learner.model().info.base_fingerprint;
  if (learner.model().tokenizer) identity.tokenizer_fingerprint = learner.model().info.tokenizer_fingerprint;
  nlohmann::ordered_json extra;
  extra["training"] = nlohmann::ordered_json::parse(training_json);
  write_adapter(folder, beacon_config(config, learner), identity, views, extra.dump());
}

}  // namespace beacon
