#pragma once
/// \file model.h
/// A frozen base model with its beacon tensors.
#include <beacon/options.h>
#include <beacon/tokenizer.h>

#include <memory>
#include <string>

namespace beacon {

/// What is known about a loaded model.
struct ModelInfo {
  std::string family;               ///< llama, mistral or qwen2
  std::string base_fingerprint;     ///< identifies the base weights and their layout
  std::string adapter_fingerprint;  ///< identifies the beacon tensors; "untrained" when they were copied from
                                    ///< the base
  std::string tokenizer_fingerprint;
  std::string compute;  ///< f32, q15 or bf16
  std::string isa;      ///< instruction set of the kernels; the device where that is not the processor
  std::string device;   ///< cpu, or cuda:N
  std::string rope;     ///< the rotation in words, for messages
  int64_t num_hidden_layers = 0;
  int64_t hidden_size = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_positions = 0;   ///< positions the base was trained on, times the rope factor
  int64_t num_parameters = 0;  ///< of the base
  int64_t weight_bytes = 0;    ///< of base and beacon tensors, as held in memory
  bool trained_beacons = false;
  int threads = 1;
};

/// A base model, its tokenizer and its beacon tensors. Constant after load() and safe to share between
/// threads; sessions keep it alive. Weights stay memory-mapped and quantised as they are in the file.
class BEACON_API Model {
 public:
  /// Opens a Hugging Face folder or a GGUF file, and an adapter if one is named. Everything is checked before
  /// it returns; throws Error (kNotFound, kBadFile, kUnsupported, kMismatch, kInvalidArgument).
  static std::shared_ptr<const Model> load(const ModelOptions& options);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelInfo& info() const;
  const Tokenizer& tokenizer() const;
  /// Name of the chat template the model carries (see chat.h); throws kUnsupported when it carries none we
  /// know.
  std::string chat_template() const;

  struct Impl;
  const Impl& impl() const { return *impl_; }  ///< for the library itself

 private:
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace beacon
