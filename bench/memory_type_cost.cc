// What a narrow memory costs in quality: the same texts read into memories of each type, token by token side
// by side, and how far the foreseen distributions are from those over a memory of f32.
//
//     memory_type_cost MODEL ADAPTER|- RATIO FILE...
//
// RATIO 0 reads without beacons. Of each file the tokens between 4096 and 8191 count, in whole
// pieces of 128. Prints for each type the mean
// negative log-likelihood (nats a token) and the mean Kullback-Leibler divergence from f32.
#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "engine/memory_impl.h"
#include "engine/window_setup.h"

namespace beacon {
namespace {

constexpr size_t kFrom = 4096, kTo = 8192;
constexpr size_t kPiece = 128;

struct Cost {
  double nll = 0;
  double divergence = 0;
  int64_t tokens = 0;
};

// One text on its way into a memory of one type.
struct Reading {
  Reading(const Model::Impl& model, const WindowOptions& options, MemoryType type)
      : net(model.net),
        state{Planner(options), KvMemory(kv_geometry(model, options, memory_scalar(type, model))), {}, {}} {
    set_compute(model, scratch);
  }

  // ln p [tokens, V] of what follows each of these tokens, where it is wanted.
  at::Tensor read(std::span<const int32_t> ids, bool wanted) {
    std::vector<at::Tensor> hidden;
    ReadRequest request;
    request.ids = ids;
    request.hidden = wanted ? HiddenRows::kAll : HiddenRows::kNone;
    request.on_hidden = [&](int64_t, const at::Tensor& rows) { hidden.push_back(rows[0]); };
    read_tokens(net, state, request, scratch);
    if (!wanted) return {};
    return at::log_softmax(net.logits(at::cat(hidden), scratch), -1);
  }

  const Transformer& net;
  ReadState state;
  TransformerScratch scratch;
};

void add_costs(const at::Tensor& exact, const at::Tensor& found, std::span<const int32_t> next, Cost& cost) {
  cost.divergence += at::sum(at::exp(exact) * (exact - found)).item().toDouble();
  for (size_t i = 0; i < next.size(); ++i)
    cost.nll -= found.const_data_ptr<float>()[static_cast<int64_t>(i) * found.size(1) + next[i]];
  cost.tokens += static_cast<int64_t>(next.size());
}

std::vector<int32_t> tokens_of(const Model::Impl& model, const char* path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  std::vector<int32_t> ids = model.tokenizer->encode(text, {.add_special = true});
  ids.resize(std::min(ids.size(), kTo));
  return ids;
}

int run(int argc, char** argv) {
  const c10::InferenceMode inference;
  ModelOptions options;
  options.model = argv[1];
  if (std::string_view(argv[2]) != "-") options.adapter = argv[2];
  const auto model = load_model(options, /*need_tokenizer=*/true);
  BeaconOptions beacons;
  beacons.ratios = {std::atoi(argv[3])};
  beacons.enabled = beacons.ratios[0] > 0;
  const WindowOptions windows = resolve_window(beacons, *model);
  constexpr MemoryType kTypes[] = {MemoryType::kF32, MemoryType::kBF16, MemoryType::kQ8_0};
  constexpr const char* kNames[] = {"f32", "bf16", "q8_0"};
  Cost costs[3];
  for (int file = 4; file < argc; ++file) {
    const std::vector<int32_t> ids = tokens_of(*model, argv[file]);
    if (ids.size() < kTo) continue;
    std::vector<std::unique_ptr<Reading>> readings;
    for (const MemoryType type : kTypes) readings.push_back(std::make_unique<Reading>(*model, windows, type));
    for (size_t at = 0; at + kPiece < kTo; at += kPiece) {
      const auto piece = std::span(ids).subspan(at, kPiece);
      const auto next = std::span(ids).subspan(at + 1, kPiece);
      at::Tensor exact;
      for (size_t t = 0; t < 3; ++t) {
        const bool counts = at + 1 >= kFrom;
        const at::Tensor found = readings[t]->read(piece, counts);
        if (t == 0) exact = found;
        if (counts) add_costs(exact, found, next, costs[t]);
      }
    }
  }
  for (size_t t = 0; t < 3; ++t) {
    fmt::print("{:<5} nll {:.6f}  divergence {:.3e}  tokens {}\n", kNames[t],
               costs[t].nll / static_cast<double>(costs[t].tokens),
               costs[t].divergence / static_cast<double>(costs[t].tokens), costs[t].tokens);
  }
  return 0;
}

}  // namespace
}  // namespace beacon

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: memory_type_cost MODEL ADAPTER|- RATIO FILE...\n");
    return 2;
  }
  return beacon::run(argc, argv);
}
