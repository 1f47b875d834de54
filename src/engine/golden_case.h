#pragma once
// A golden case on disk and the comparisons with it: what the parity of reading (parity.h) and of training
// share.
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "engine/model_impl.h"
#include "engine/parity.h"
#include "io/safetensors.h"
#include "window/options.h"

namespace beacon {

// f32 sums in another order; the golden README argues for this bound.
inline constexpr double kParityTolerance = 1e-4;

// Largest absolute difference; infinity when the shapes differ.
double max_diff(const at::Tensor& a, const at::Tensor& b);

// Belongs to one thread.
class GoldenCase {
 public:
  // Loads the model in f32, onto the device. Throws Error when the folder is not a case.
  GoldenCase(const std::filesystem::path& folder, const std::string& device);

  const Model::Impl& model() const { return *model_; }
  const nlohmann::json& meta() const { return meta_; }
  const std::vector<TensorView>& tensors() const { return expected_.tensors(); }
  bool has(const std::string& name) const { return expected_.find(name) != nullptr; }
  // Throws kNotFound when there is none.
  at::Tensor tensor(const std::string& name) const;

  int64_t batch() const { return meta_.value("batch", 1); }
  // [B * n] batch rows one after the other.
  std::vector<int32_t> ids() const;
  // The options of its passes, but for the ratios.
  WindowOptions window() const;
  // The list under `key` of meta(), or none.
  std::vector<int> ratios(const char* key) const;
  // The pass fed in pieces was given the same ratios as the one fed at once.
  bool same_chunk_ratios() const;

  // Adds a line: absolute differences up to kParityTolerance pass. A section that holds a bug of the original
  // under the name `quirk_of` (empty: its own) need not.
  void compare(const std::string& section, const at::Tensor& ours, const at::Tensor& expected,
               const std::string& quirk_of = {});
  void add(const std::string& section, const std::string& quirk_of, bool ok, double diff, double tolerance,
           std::string note = {});
  std::vector<ParityLine> take_lines() { return std::move(lines_); }

 private:
  SafetensorsFile expected_;
  std::unique_ptr<Model::Impl> model_;
  nlohmann::json meta_;
  std::set<std::string> quirks_;
  bool all_quirk_ = false;
  std::vector<ParityLine> lines_;
};

}  // namespace beacon
