#include "engine/parity.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"
#include "engine/memory_impl.h"
#include "engine/model_impl.h"
#include "engine/reader.h"
#include "engine/window_setup.h"
#include "io/safetensors.h"

namespace beacon {
namespace {

using Json = nlohmann::json;

// f32 sums in another order; the golden README argues for this bound.
constexpr double kTolerance = 1e-4;

at::Tensor tensor_of(const TensorView& view) {
  const std::map<DType, at::ScalarType> types = {
      {DType::kF32, at::kFloat}, {DType::kI64, at::kLong}, {DType::kI32, at::kInt}, {DType::kU8, at::kByte}};
  const auto type = types.find(view.dtype);
  require(type != types.end(), ErrorCode::kUnsupported, "tensor {} of the case is {}", view.name,
          dtype_info(view.dtype).name);
  at::Tensor out = at::empty(view.shape, at::TensorOptions().dtype(type->second));
  std::memcpy(out.data_ptr(), view.bytes.data(), view.bytes.size());
  return out;
}

double max_diff(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0.0;
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// A whole pass over tokens, with everything the sections ask for.
struct Pass {
  at::Tensor logits;  // f32 [B, rows, V]
  std::vector<Step> steps;
};

class Case {
 public:
  explicit Case(const std::filesystem::path& folder)
      : expected_(SafetensorsFile::open(folder / "expected.safetensors")),
        model_(load(folder)),
        meta_(read_json(folder)) {
    for (const auto& name : meta_.value("quirk_sections", Json::array()))
      quirks_.insert(name.get<std::string>());
    all_quirk_ = quirks_.count("*") != 0;
    // Where the original's passes disagree on the same ratios it depends on how the text arrives; ours must
    // not.
    if (same_chunk_ratios() && meta_.value("chunked_vs_full_max_abs_diff", 0.0) > kTolerance) {
      quirks_.insert({"chunked", "gen_long", "gen_short"});
    }
  }

  std::vector<ParityLine> run() {
    const c10::InferenceMode inference;
    full_pass();
    chunked();
    generation("gen_long");
    generation("gen_short");
    plain();
    waiting();
    return std::move(lines_);
  }

 private:
  bool same_chunk_ratios() const {
    return meta_.contains("chunk_ratios") && meta_.at("chunk_ratios") == meta_.at("ratios_per_window");
  }

  static std::unique_ptr<Model::Impl> load(const std::filesystem::path& folder) {
    ModelOptions options;
    options.model = folder;
    options.compute = ComputeType::kF32;
    return load_model(options, /*need_tokenizer=*/false);
  }

  static Json read_json(const std::filesystem::path& folder) {
    std::ifstream in(folder / "case.json");
    require(in.good(), ErrorCode::kNotFound, "{} has no case.json; a folder of a golden case was expected",
            folder.string());
    try {
      return Json::parse(in);
    } catch (const Json::exception& error) {
      fail(ErrorCode::kBadFile, "case.json of {} cannot be read: {}", folder.string(), error.what());
    }
  }

  ReadState new_state(const std::vector<int>& ratios, bool enabled, int64_t batch) const {
    WindowOptions options = resolve_window({}, *model_);
    options.enabled = enabled;
    const Json kwargs = meta_.value("fwd_kwargs", Json::object());
    if (kwargs.contains("beacon_skip_first")) options.skip_first = kwargs["beacon_skip_first"];
    if (kwargs.contains("beacon_skip_last")) options.skip_last = kwargs["beacon_skip_last"].get<int64_t>();
    Planner planner(options);
    if (enabled && !ratios.empty()) planner.force_ratios(ratios);
    KvGeometry geometry = kv_geometry(*model_, options, at::kFloat);
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
      const at::Tensor flat = model_->net.logits(h.reshape({-1, h.size(2)}), scratch_);
      rows.push_back(flat.view({h.size(0), h.size(1), -1}));
    };
    read_tokens(model_->net, state, request, scratch_);
    pass.logits = at::cat(rows, 1);
  }

  std::vector<int32_t> flat_ids() const {
    std::vector<int32_t> ids;
    for (const Json& item : meta_.at("input_ids")) {
      if (item.is_array()) {
        for (const Json& id : item) ids.push_back(id);
      } else {
        ids.push_back(item);
      }
    }
    return ids;
  }

  std::vector<int> ratios(const Json& where, const char* key) const {
    return where.contains(key) ? where.at(key).get<std::vector<int>>() : std::vector<int>();
  }

  void full_pass() {
    const int64_t batch = meta_.value("batch", 1);
    ReadState state = new_state(ratios(meta_, "ratios_per_window"), true, batch);
    Pass pass;
    const std::vector<int32_t> ids = flat_ids();
    read(state, ids, HiddenRows::kAll, pass);
    const at::Tensor logits = batch == 1 ? pass.logits.squeeze(0) : pass.logits;
    if (const TensorView* view = expected_.find("logits")) compare("logits", logits, tensor_of(*view));
    if (const TensorView* view = expected_.find("logits_tail")) {
      compare("logits_tail", logits.narrow(0, logits.size(0) - view->shape[0], view->shape[0]),
              tensor_of(*view));
    }
    compare_memory("mem", "mem.", state);
    compare_masks(pass.steps);
    compare_losses(pass.logits, ids, batch);
  }

  void chunked() {
    const TensorView* view = expected_.find("chunked.logits");
    if (view == nullptr) return;
    ReadState state = new_state(ratios(meta_, "chunk_ratios"), true, 1);
    Pass pass;
    const std::vector<int32_t> ids = flat_ids();
    size_t begin = 0;
    for (const size_t size : meta_.at("chunk_sizes").get<std::vector<size_t>>()) {
      read(state, std::span(ids).subspan(begin, size), HiddenRows::kAll, pass);
      begin += size;
    }
    compare("chunked", pass.logits.squeeze(0), tensor_of(*view));
    if (const TensorView* whole = expected_.find("logits"); whole != nullptr && same_chunk_ratios()) {
      compare("chunked = full", pass.logits.squeeze(0), tensor_of(*whole));
    }
  }

  void generation(const std::string& name) {
    const TensorView* expected_ids = expected_.find(name + ".ids");
    if (expected_ids == nullptr) return;
    const Json& meta = meta_.at(name);
    ReadState state = new_state(ratios(meta, "ratios"), true, 1);
    const std::vector<int32_t> ids = flat_ids();
    Pass pass;
    read(state, std::span(ids).first(meta.at("prompt_len").get<size_t>()), HiddenRows::kLast, pass);
    std::vector<int64_t> chosen;
    while (static_cast<int64_t>(chosen.size()) < expected_ids->elements()) {
      if (!chosen.empty()) {
        const auto id = static_cast<int32_t>(chosen.back());
        read(state, {&id, 1}, HiddenRows::kLast, pass);
      }
      chosen.push_back(pass.logits[0][-1].argmax().item<int64_t>());
    }
    const at::Tensor wanted = tensor_of(*expected_ids).to(at::kLong).flatten();
    const bool equal = at::equal(at::tensor(chosen, at::kLong), wanted);
    add(name + ".ids", name, equal, equal ? 0.0 : 1.0, 0.0, equal ? "" : "greedy ids differ");
    compare(name + ".logits", pass.logits.squeeze(0), tensor_of(*expected_.find(name + ".logits")), name);
    compare_memory(name + ".mem", name + ".mem.", state, name);
  }

  void plain() {
    const TensorView* view = expected_.find("plain.logits");
    if (view == nullptr) return;
    ReadState state = new_state({}, false, 1);
    Pass pass;
    read(state, flat_ids(), HiddenRows::kAll, pass);
    compare("plain", pass.logits.squeeze(0), tensor_of(*view));
  }

  void waiting() {
    std::set<std::string> sections;
    for (const TensorView& tensor : expected_.tensors()) {
      if (tensor.name.starts_with("train")) sections.insert("train");
      if (tensor.name.starts_with("grad.")) sections.insert("grad");
      if (tensor.name.starts_with("grad_all.")) sections.insert("grad_all");
    }
    for (const std::string& section : sections) {
      lines_.push_back({section, ParityLine::kWaiting, 0.0, 0.0, "needs the trainer"});
    }
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
        const TensorView* kv = expected_.find(fmt::format("{}{}.{}_k", prefix, l, part));
        if (kv == nullptr) continue;
        found = true;
        k.push_back(tensor_of(*kv));
        v.push_back(tensor_of(*expected_.find(fmt::format("{}{}.{}_v", prefix, l, part))));
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
    if (found) add(section, quirk_of.empty() ? "mem" : quirk_of, worst <= kTolerance, worst, kTolerance);
  }

  double key_diff(const ReadState& state, int64_t layer, const at::Tensor& expected, int64_t settled) const {
    const at::Tensor keys = state.kv.keys(layer, 0);
    if (!state.kv.geometry().keys_rotated) return max_diff(keys, expected);
    const at::Tensor front = expected.narrow(2, 0, settled).contiguous();
    at::Tensor turned = at::empty_like(front);
    if (settled > 0) {
      const std::vector<int64_t> flat = {front.numel() / front.size(3), 1, front.size(3)};
      ops::apply_rope(front.view(flat), model_->net.rope().table(0, settled, 0), turned.view(flat));
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
      const TensorView* view = expected_.find(fmt::format("mask.{}", i));
      if (view == nullptr) continue;
      ++found;
      const Step& step = steps[i];
      const int64_t rows = step.num_rows(), keys = step.memory_rows() + rows;
      at::Tensor mask = at::ones({rows, keys}, at::kByte).tril(keys - rows);
      if (!step.causal) std::memcpy(mask.data_ptr(), step.mask.data(), step.mask.size());
      wrong = std::max(wrong, max_diff(mask, tensor_of(*view)));
    }
    if (found > 0) add("mask", "mask", wrong == 0.0, wrong, 0.0, fmt::format("{} steps", found));
  }

  void compare_losses(const at::Tensor& logits, const std::vector<int32_t>& ids, int64_t batch) {
    const TensorView* view = expected_.find("eval_token_loss");
    if (view == nullptr) return;
    const int64_t tokens = static_cast<int64_t>(ids.size()) / batch;
    const at::Tensor log_probs = at::log_softmax(logits.to(at::kDouble), -1);
    at::Tensor losses = at::zeros({batch, tokens}, at::kDouble);
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t t = 0; t + 1 < tokens; ++t) {
        losses[b][t] = -log_probs[b][t][ids[static_cast<size_t>(b * tokens + t + 1)]];
      }
    }
    compare("eval_token_loss", losses.view(view->shape), tensor_of(*view));
    const at::Tensor mean = losses.sum() / static_cast<double>(batch * (tokens - 1));
    const at::Tensor expected = tensor_of(*expected_.find("eval_loss")).flatten().slice(0, 0, 1);
    compare("eval_loss", mean.view({1}), expected);
  }

  void compare(const std::string& section, const at::Tensor& ours, const at::Tensor& expected,
               const std::string& quirk_of = {}) {
    const double diff = max_diff(ours, expected);
    add(section, quirk_of.empty() ? section : quirk_of, diff <= kTolerance, diff, kTolerance);
  }

  void add(const std::string& section, const std::string& quirk_of, bool ok, double diff, double tolerance,
           std::string note = {}) {
    const bool quirk = all_quirk_ || quirks_.count(quirk_of) != 0;
    if (quirk) note = note.empty() ? "the original has a bug here" : note + "; the original has a bug here";
    lines_.push_back({section,
                      quirk ? ParityLine::kQuirk
                      : ok  ? ParityLine::kPass
                            : ParityLine::kFail,
                      diff, tolerance, note});
  }

  SafetensorsFile expected_;
  std::unique_ptr<Model::Impl> model_;
  Json meta_;
  TransformerScratch scratch_;
  std::set<std::string> quirks_;
  bool all_quirk_ = false;
  std::vector<ParityLine> lines_;
};

}  // namespace

std::vector<ParityLine> run_parity_case(const std::filesystem::path& folder) {
  try {
    return Case(folder).run();
  } catch (const Json::exception& error) {
    fail(ErrorCode::kBadFile, "case.json of {} is not a golden case: {}", folder.string(), error.what());
  }
}

}  // namespace beacon
