#include "train/checkpoint.h"

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "io/json_reader.h"
#include "io/safetensors.h"
#include "ops/tensor_io.h"

namespace beacon {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kAny = int64_t{1} << 62;

// 64 bits as text: JSON numbers of other programs end at 53.
std::string hex(uint64_t value) { return fmt::format("{:016x}", value); }

uint64_t from_hex(const JsonReader& reader, const char* key) {
  const std::string text = reader.string(key).value_or("");
  const bool ok = text.size() == 16 && text.find_first_not_of("0123456789abcdef") == text.npos;
  if (!ok) reader.wrong(key, "16 hexadecimal digits");
  return std::stoull(text, nullptr, 16);
}

std::string state_to_json(const RunState& s, int64_t updates) {
  OrderedJson json = {{"step", s.step},
                      {"updates", updates},
                      {"ratio_stream", hex(s.ratio_stream)},
                      {"cursor", s.cursor},
                      {"log_bytes", s.log_bytes},
                      {"tokens", s.tokens},
                      {"best_step", s.best_step},
                      {"seconds", s.seconds},
                      {"config", s.config},
                      {"data_fingerprint", hex(s.data_fingerprint)},
                      {"isa", s.isa},
                      {"compute", s.compute},
                      {"threads", s.threads},
                      {"ranks", s.ranks}};
  if (s.best) json["best"] = *s.best;
  return json.dump();
}

RunState state_from_json(const std::string& text, const std::string& what, int64_t& updates) {
  const Json object = parse_json_object(text, what);
  const JsonReader reader(object, what);
  RunState s;
  s.step = reader.required_integer("step", 0, kAny);
  updates = reader.required_integer("updates", 0, kAny);
  s.ratio_stream = from_hex(reader, "ratio_stream");
  s.cursor = reader.integers("cursor", -kAny, kAny).value_or(std::vector<int64_t>());
  s.log_bytes = reader.required_integer("log_bytes", 0, kAny);
  s.tokens = reader.required_integer("tokens", 0, kAny);
  constexpr double kLargest = std::numeric_limits<double>::max();
  s.best = reader.number("best", -kLargest, kLargest);
  s.best_step = reader.required_integer("best_step", 0, kAny);
  s.seconds = reader.number("seconds", 0, kLargest).value_or(0);
  s.config = reader.string("config").value_or("");
  s.data_fingerprint = from_hex(reader, "data_fingerprint");
  s.isa = reader.string("isa").value_or("");
  s.compute = reader.string("compute").value_or("");
  s.threads = reader.required_integer("threads", 0, kAny);
  s.ranks = reader.required_integer("ranks", 1, kAny);
  return s;
}

// Number of the step in "step-00000100.safetensors"; nothing for other names.
std::optional<int64_t> step_of(const fs::path& file) {
  const std::string name = file.filename().string();
  constexpr std::string_view kPrefix = "step-", kSuffix = ".safetensors";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  const std::string digits = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  if (digits.empty() || digits.size() > 18 || digits.find_first_not_of("0123456789") != digits.npos)
    return std::nullopt;
  return std::stoll(digits);
}

// By step, youngest first.
std::vector<std::pair<int64_t, fs::path>> checkpoints(const fs::path& folder) {
  std::vector<std::pair<int64_t, fs::path>> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (const auto step = step_of(entry.path())) found.emplace_back(*step, entry.path());
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

at::Tensor tensor_of(const SafetensorsFile& file, const std::string& name, const at::Tensor& like,
                     const std::string& what) {
  const TensorView* view = file.find(name);
  require(view != nullptr && view->dtype == DType::kF32 && view->shape == like.sizes().vec(),
          ErrorCode::kMismatch,
          "{}: expected the tensor {} as F32 {}, found {}; was the run made with other parameters or another "
          "model?",
          what, name, shape_to_string(like.sizes()), view == nullptr ? "none" : shape_to_string(view->shape));
  return ops::copy_of(*view);
}

}  // namespace

void write_checkpoint(const fs::path& folder, const AdamW& optimizer, const RunState& state, int64_t keep) {
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, ErrorCode::kIo, "cannot make the folder {}: {}", folder.string(), error.message());
  std::vector<at::Tensor> held;  // in host memory, where the views look
  std::vector<TensorView> views;
  const auto add = [&](const std::string& name, const at::Tensor& tensor) {
    held.push_back(tensor.detach().cpu());
    views.push_back(ops::view_of(name, held.back()));
  };
  for (size_t i = 0; i < optimizer.parameters().size(); ++i) {
    const NamedParameter& p = optimizer.parameters()[i];
    add("parameter/" + p.name, p.tensor);
    add("first/" + p.name, optimizer.first_moments()[i]);
    add("second/" + p.name, optimizer.second_moments()[i]);
  }
  write_safetensors(folder / fmt::format("step-{:08}.safetensors", state.step), views,
                    {{"run_state", state_to_json(state, optimizer.updates())}});
  const auto all = checkpoints(folder);
  for (size_t i = static_cast<size_t>(keep); i < all.size(); ++i) fs::remove(all[i].second, error);
}

std::optional<fs::path> latest_checkpoint(const fs::path& folder) {
  const auto all = checkpoints(folder);
  if (all.empty()) return std::nullopt;
  return all.front().second;
}

RunState read_checkpoint(const fs::path& file, AdamW& optimizer) {
  const SafetensorsFile tensors = SafetensorsFile::open(file);
  const auto state = tensors.metadata().find("run_state");
  require(state != tensors.metadata().end(), ErrorCode::kBadFile, "{} is not a checkpoint of a run",
          file.string());
  int64_t updates = 0;
  RunState out = state_from_json(state->second, file.string(), updates);
  std::vector<at::Tensor> values, first, second;
  for (const NamedParameter& p : optimizer.parameters()) {
    values.push_back(tensor_of(tensors, "parameter/" + p.name, p.tensor, file.string()));
    first.push_back(tensor_of(tensors, "first/" + p.name, p.tensor, file.string()));
    second.push_back(tensor_of(tensors, "second/" + p.name, p.tensor, file.string()));
  }
  const at::NoGradGuard no_gradients;
  for (size_t i = 0; i < values.size(); ++i) {
    at::Tensor tensor = optimizer.parameters()[i].tensor;
    tensor.copy_(values[i]);
  }
  optimizer.restore(first, second, updates);
  return out;
}

}  // namespace beacon
