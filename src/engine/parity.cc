#include "engine/parity.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "engine/golden_case.h"
#include "engine/memory_impl.h"
#include "engine/reader.h"

namespace beacon {
namespace {

using Json = nlohmann::json;

// A whole pass over tokens, with everything the sections ask for.
struct Pass {
  at::Tensor logits;  // f32 [B, rows, V]
  std::vector<Step> steps;
};

class Case {
 public:
  Case(const std::filesystem::path& folder, const std::string& device) : golden_(folder, device) {}

  std::vector<ParityLine> run() {
    const c10::InferenceMode inference;
    full_pass();
    chunked();
    generation("gen_long");
    generation("gen_short");
    plain();
    return golden_.take_lines();
  }

 private:
  ReadState new_state(const std::vector<int>& ratios, bool enabled, int64_t batch) const {
    WindowOptions options = golden_.window();
    options.enabled = enabled;
    Planner planner(options);
    if (enabled && !ratios.empty()) planner.force_ratios(ratios);
    KvGeometry geometry = kv_geometry(golden_.model(), options, at::kFloat);
    geometry.batch = batch;
    return {std::move(planner), KvMemory(geometry), {}, {}};
  }

  // Reads [B, n] tokens and appends the logits of all their rows to the pass.
  void read(ReadState& state, std::span<const int32_t> ids, HiddenRows hidden, Pass& pass) {
    std::vector<at::Tensor> rows;
    if (pass.logits.defined()) rows.push_back(pass.logits);
    ReadRequest request;
    request.ids = ids;
    request.hidden = hidden;
    request.on_plan = [&](const Step& step) { pass.steps.push_back(step); };
    request.on_hidden = [&](int64_t, const at::Tensor& h) {
      const at::Tensor flat = golden_.model().net.logits(h.reshape({-1, h.size(2)}), scratch_);
      rows.push_back(flat.view({h.size(0), h.size(1), -1}).cpu());
    };
    read_tokens(golden_.model().net, state, request, scratch_);
    pass.logits = at::cat(rows, 1);
  }

  void full_pass() {
    const int64_t batch = golden_.batch();
    ReadState state = new_state(golden_.ratios("ratios_per_window"), true, batch);
    Pass pass;
    const std::vector<int32_t> ids = golden_.ids();
    read(state, ids, HiddenRows::kAll, pass);
    const at::Tensor logits = batch == 1 ? pass.logits.squeeze(0) : pass.logits;
    if (golden_.has("logits")) golden_.compare("logits", logits, golden_.tensor("logits"));
    if (golden_.has("logits_tail")) {
      const at::Tensor tail = golden_.tensor("logits_tail");
      golden_.compare("logits_tail", logits.narrow(0, logits.size(0) - tail.size(0), tail.size(0)), tail);
    }
    compare_memory("mem", "mem.", state);
    compare_masks(pass.steps);
    compare_losses(pass.logits, ids, batch);
  }

  void chunked() {
    if (!golden_.has("chunked.logits")) return;
    ReadState state = new_state(golden_.ratios("chunk_ratios"), true, 1);
    Pass pass;
    const std::vector<int32_t> ids = golden_.ids();
    size_t begin = 0;
    for (const size_t size : golden_.meta().at("chunk_sizes").get<std::vector<size_t>>()) {
      read(state, std::span(ids).subspan(begin, size), HiddenRows::kAll, pass);
      begin += size;
    }
    golden_.compare("chunked", pass.logits.squeeze(0), golden_.tensor("chunked.logits"));
    if (golden_.has("logits") && golden_.same_chunk_ratios()) {
      golden_.compare("chunked = full", pass.logits.squeeze(0), golden_.tensor("logits"));
    }
  }

  void generation(const std::string& name) {
    if (!golden_.has(name + ".ids")) return;
    const at::Tensor wanted = golden_.tensor(name + ".ids").to(at::kLong).flatten();
    const Json& meta = golden_.meta().at(name);
    ReadState state = new_state(meta.value("ratios", std::vector<int>()), true, 1);
    const std::vector<int32_t> ids = golden_.ids();
    Pass pass;
    read(state, std::span(ids).first(meta.at("prompt_len").get<size_t>()), HiddenRows::kLast, pass);
    std::vector<int64_t> chosen;
    while (static_cast<int64_t>(chosen.size()) < wanted.numel()) {
      if (!chosen.empty()) {
        const auto id = static_cast<int32_t>(chosen.back());
        read(state, {&id, 1}, HiddenRows::kLast, pass);
      }
      chosen.push_back(pass.logits[0][-1].argmax().item<int64_t>());
    }
    const bool equal = at::equal(at::tensor(chosen, at::kLong), wanted);
    golden_.add(name + ".ids", name, equal, equal ? 0.0 : 1.0, 0.0, equal ? "" : "greedy ids differ");
    golden_.compare(name + ".logits", pass.logits.squeeze(0), golden_.tensor(name + ".logits"), name);
    compare_memory(name + ".mem", name + ".mem.", state, name);
  }

  void plain() {
    if (!golden_.has("plain.logits")) return;
    ReadState state = new_state({}, false, 1);
    Pass pass;
    read(state, golden_.ids(), HiddenRows::kAll, pass);
    golden_.compare("plain", pass.logits.squeeze(0), golden_.tensor("plain.logits"));
  }

  // Golden keys are before RoPE; ours are rotated, so the expected ones are rotated to the row's position.
  // Rows of the open window are compared before RoPE as well, since a plan may have placed them elsewhere.
  void compare_memory(const std::string& section, const std::string& prefix, const ReadState& state,
                      const std::string& quirk_of = {}) {
    double worst = 0.0;
    bool found = false;
    const KvCounts& counts = state.kv.counts();
    const int64_t settled = counts.sink + counts.beacons;
    for (int64_t l = 0; l < state.kv.geometry().num_layers; ++l) {
      std::vector<at::Tensor> k, v;
      for (const char* part : {"sink", "beacon", "raw"}) {
        const std::string rows = fmt::format("{}{}.{}", prefix, l, part);
        if (!golden_.has(rows + "_k")) continue;
        found = true;
        k.push_back(golden_.tensor(rows + "_k"));
        v.push_back(golden_.tensor(rows + "_v"));
      }
      if (k.empty()) continue;
      const at::Tensor k_all = at::cat(k, 2), v_all = at::cat(v, 2);
      if (k_all.size(2) != counts.total()) {
        worst = std::numeric_limits<double>::infinity();
        break;
      }
      worst = std::max(worst, max_diff(state.kv.values(l, 0), v_all));
      worst = std::max(worst, key_diff(state, l, k_all, settled));
    }
    if (found)
      golden_.add(section, quirk_of.empty() ? "mem" : quirk_of, worst <= kParityTolerance, worst,
                  kParityTolerance);
  }

  double key_diff(const ReadState& state, int64_t layer, const at::Tensor& expected, int64_t settled) const {
    const at::Tensor keys = state.kv.keys(layer, 0);
    if (!state.kv.geometry().keys_rotated) return max_diff(keys, expected);
    const at::Tensor front = expected.narrow(2, 0, settled).contiguous();
    at::Tensor turned = at::empty_like(front);
    if (settled > 0) {
      const std::vector<int64_t> flat = {front.numel() / front.size(3), 1, front.size(3)};
      ops::apply_rope(front.view(flat), golden_.model().net.rope().table(0, settled, 0), turned.view(flat));
    }
    const double settled_diff = max_diff(keys.narrow(2, 0, settled), turned);
    const double open_diff =
        max_diff(state.kv.keys_before_rope(layer), expected.narrow(2, settled, expected.size(2) - settled));
    return std::max(settled_diff, open_diff);
  }

  void compare_masks(const std::vector<Step>& steps) {
    double wrong = 0.0;
    size_t found = 0;
    for (size_t i = 0; i < steps.size(); ++i) {
      const std::string name = fmt::format("mask.{}", i);
      if (!golden_.has(name)) continue;
      ++found;
      const Step& step = steps[i];
      const int64_t rows = step.num_rows(), keys = step.memory_rows() + rows;
      at::Tensor mask = at::ones({rows, keys}, at::kByte).tril(keys - rows);
      if (!step.causal) std::memcpy(mask.data_ptr(), step.mask.data(), step.mask.size());
      wrong = std::max(wrong, max_diff(mask, golden_.tensor(name)));
    }
    if (found > 0) golden_.add("mask", "mask", wrong == 0.0, wrong, 0.0, fmt::format("{} steps", found));
  }

  void compare_losses(const at::Tensor& logits, const std::vector<int32_t>& ids, int64_t batch) {
    if (!golden_.has("eval_token_loss")) return;
    const at::Tensor wanted = golden_.tensor("eval_token_loss");
    const int64_t tokens = static_cast<int64_t>(ids.size()) / batch;
    const at::Tensor log_probs = at::log_softmax(logits.to(at::kDouble), -1);
    at::Tensor losses = at::zeros({batch, tokens}, at::kDouble);
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t t = 0; t + 1 < tokens; ++t) {
        losses[b][t] = -log_probs[b][t][ids[static_cast<size_t>(b * tokens + t + 1)]];
      }
    }
    golden_.compare("eval_token_loss", losses.view(wanted.sizes()), wanted);
    const at::Tensor mean = losses.sum() / static_cast<double>(batch * (tokens - 1));
    const at::Tensor expected = golden_.tensor("eval_loss").flatten().slice(0, 0, 1);
    golden_.compare("eval_loss", mean.view({1}), expected);
  }

  GoldenCase golden_;
  TransformerScratch scratch_;
};

}  // namespace

std::vector<ParityLine> run_parity_case(const std::filesystem::path& folder, const std::string& device) {
  try {
    return Case(folder, device).run();
  } catch (const Json::exception& error) {
    fail(ErrorCode::kBadFile, "case.json of {} is not a golden case: {}", folder.string(), error.what());
  }
}

}  // namespace beacon
