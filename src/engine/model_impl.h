#pragma once
// What a Model holds.
#include <beacon/model.h>

#include <memory>
#include <optional>

#include "io/beacon_config.h"
#include "model/transformer.h"

namespace beacon {

struct BEACON_LOCAL Model::Impl {
  Impl(Transformer network, std::shared_ptr<const Tokenizer> vocabulary)
      : net(std::move(network)), tokenizer(std::move(vocabulary)) {}

  Transformer net;
  std::shared_ptr<const Tokenizer> tokenizer;  // null for a checkpoint without one (golden cases)
  std::optional<std::string> chat_template;    // Jinja
  BeaconConfig beacons;                 // of the adapter or checkpoint; the paper's defaults without either
  bool beacons_configured = false;      // it came from a file
  at::Device device = at::kCPU;         // where the network and the memories are
  at::ScalarType compute = at::kFloat;  // of activations
  bool integers = false;                // see ops::LinearContext and ops::AttentionContext
  bool gated = false;                   // some layer has a beacon gate
  ModelInfo info;
};

// Scratch for the model's kind of arithmetic.
inline void set_compute(const Model::Impl& model, TransformerScratch& scratch) {
  scratch.linear.compute = model.compute;
  scratch.linear.integers = model.integers;
  scratch.attention.integers = model.integers;
}

// The model of `options`; without a tokenizer when `need_tokenizer` is false and the checkpoint has none.
std::unique_ptr<Model::Impl> load_model(const ModelOptions& options, bool need_tokenizer);

}  // namespace beacon
