#include "engine/golden_case.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <fstream>
#include <limits>
#include <utility>

#include "base/check.h"
#include "engine/window_setup.h"
#include "ops/tensor_io.h"

namespace beacon {
namespace {

using Json = nlohmann::json;

std::unique_ptr<Model::Impl> load(const std::filesystem::path& folder, const std::string& device) {
  ModelOptions options;
  options.model = folder;
  options.compute = ComputeType::kF32;
  options.device = device;
  return load_model(options, /*need_tokenizer=*/false);
}

Json read_json(const std::filesystem::path& folder) {
  std::ifstream in(folder / "case.json");
  require(in.good(), ErrorCode::kNotFound, "{} has no case.json; a folder of a golden case was expected",
          folder.string());
  try {
    return Json::parse(in);
  } catch (const Json::exception& error) {
    fail(ErrorCode::kBadFile, "case.json of {} cannot be read: {}", folder.string(), error.what());
  }
}

}  // namespace

double max_diff(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  if (a.numel() == 0) return 0.0;
  return (a.cpu().to(at::kDouble) - b.cpu().to(at::kDouble)).abs().max().item<double>();
}

GoldenCase::GoldenCase(const std::filesystem::path& folder, const std::string& device)
    : expected_(SafetensorsFile::open(folder / "expected.safetensors")),
      model_(load(folder, device)),
      meta_(read_json(folder)) {
  for (const auto& name : meta_.value("quirk_sections", Json::array()))
    quirks_.insert(name.get<std::string>());
  all_quirk_ = quirks_.count("*") != 0;
  // Where the original's passes disagree on the same ratios it depends on how the text arrives; ours must
  // not.
  if (same_chunk_ratios() && meta_.value("chunked_vs_full_max_abs_diff", 0.0) > kParityTolerance) {
    quirks_.insert({"chunked", "gen_long", "gen_short"});
  }
}

at::Tensor GoldenCase::tensor(const std::string& name) const {
  const TensorView* view = expected_.find(name);
  require(view != nullptr, ErrorCode::kNotFound, "expected.safetensors has no tensor {}", name);
  return ops::copy_of(*view);
}

std::vector<int32_t> GoldenCase::ids() const {
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

WindowOptions GoldenCase::window() const {
  WindowOptions options = resolve_window({}, *model_);
  const Json kwargs = meta_.value("fwd_kwargs", Json::object());
  if (kwargs.contains("beacon_skip_first")) options.skip_first = kwargs["beacon_skip_first"];
  if (kwargs.contains("beacon_skip_last")) options.skip_last = kwargs["beacon_skip_last"].get<int64_t>();
  return options;
}

std::vector<int> GoldenCase::ratios(const char* key) const {
  return meta_.contains(key) ? meta_.at(key).get<std::vector<int>>() : std::vector<int>();
}

bool GoldenCase::same_chunk_ratios() const {
  return meta_.contains("chunk_ratios") && meta_.at("chunk_ratios") == meta_.at("ratios_per_window");
}

void GoldenCase::compare(const std::string& section, const at::Tensor& ours, const at::Tensor& expected,
                         const std::string& quirk_of) {
  const double diff = max_diff(ours, expected);
  add(section, quirk_of.empty() ? section : quirk_of, diff <= kParityTolerance, diff, kParityTolerance);
}

void GoldenCase::add(const std::string& section, const std::string& quirk_of, bool ok, double diff,
                     double tolerance, std::string note) {
  const bool quirk = all_quirk_ || quirks_.count(quirk_of) != 0;
  if (quirk) note = note.empty() ? "the original has a bug here" : note + "; the original has a bug here";
  const ParityLine::Status status = quirk ? ParityLine::kQuirk : ok ? ParityLine::kPass : ParityLine::kFail;
  lines_.push_back({section, status, diff, tolerance, std::move(note)});
}

}  // namespace beacon
