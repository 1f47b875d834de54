#pragma once
// A model on disk, whatever its format: configuration and tensors under Hugging Face names.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/beacon_config.h"
#include "io/gguf.h"
#include "io/model_config.h"
#include "io/safetensors.h"
#include "io/tensor_view.h"

namespace beacon {

// Const after open(), so threads may share it. Keeps its files mapped; tensor views live as long as it does.
class Checkpoint {
 public:
  // `path` is a Hugging Face folder (config.json with model.safetensors or shards and their index), a .gguf
  // file, or a folder with one .gguf file. Throws kNotFound, kBadFile, kUnsupported or kMismatch.
  static std::shared_ptr<const Checkpoint> open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const ModelConfig& config() const { return config_; }
  // Present when the checkpoint carries beacon keys of its own (with or without beacon tensors).
  const std::optional<BeaconConfig>& beacon() const { return beacon_; }

  // By Hugging Face name ("model.layers.0.self_attn.q_proj.weight"); ultragist_ is spelled beacon_. Nothing
  // when absent; throws kUnsupported when the tensor is of a kind we do not read.
  const TensorView* find(std::string_view hf_name) const;
  // As find(), but throws kNotFound when it is absent and kMismatch unless the shape is the expected one.
  const TensorView& get(std::string_view hf_name, std::span<const int64_t> shape) const;
  // All names, sorted; those of kinds we do not read included.
  std::vector<std::string> names() const;
  bool has_beacon_tensors() const;

  // True for GGUF files of llama architecture: the rows of q_proj and k_proj lie in the order of llama.cpp's
  // rope, see io/rope_permutation.h.
  bool permuted_qk() const { return permuted_qk_; }
  // rope_freqs.weight of a GGUF file: divisors of the head_dim / 2 inverse frequencies (llama3 scaling,
  // precomputed).
  std::optional<std::vector<float>> rope_factors() const;

  // 32 hex digits that tell two bases apart: XXH3-128 over the essentials of the configuration and each base
  // tensor's name, dtype, shape and three samples of 4 KiB (start, middle, end; everything when it is
  // shorter). Beacon tensors do not count, so a merged checkpoint and its split base agree. Not a proof
  // against forgery.
  std::string fingerprint() const;
  // The same over the beacon tensors alone, equal to Adapter::fingerprint() of the split adapter.
  std::string beacon_fingerprint() const;

  // The model's chat template (Jinja), from chat_template.jinja, tokenizer_config.json or GGUF metadata.
  const std::optional<std::string>& chat_template() const { return chat_template_; }
  // The GGUF file behind it, for tokenizer metadata; nothing for a folder of safetensors.
  const GgufFile* gguf() const { return gguf_ ? &*gguf_ : nullptr; }

 private:
  Checkpoint() = default;
  void open_folder();
  void open_gguf(const std::filesystem::path& file);
  void load_shards();
  void add(TensorView tensor, const std::string& file);

  std::filesystem::path path_;
  ModelConfig config_;
  std::optional<BeaconConfig> beacon_;
  std::optional<std::string> chat_template_;
  std::optional<GgufFile> gguf_;
  std::vector<SafetensorsFile> shards_;
  std::unordered_map<std::string, TensorView> tensors_;
  std::unordered_map<std::string, std::string> unsupported_;  // name -> kind
  bool permuted_qk_ = false;
};

// The Hugging Face name of a tensor of a GGUF file of ours (llama, qwen2), or the name itself when there is
// none.
std::string hf_name_of_gguf(std::string_view gguf_name);

}  // namespace beacon
