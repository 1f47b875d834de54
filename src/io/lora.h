#pragma once
// The LoRA part of an adapter: what is trained of the base's own projections, under PEFT's names.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "io/tensor_view.h"

namespace beacon {

// The largest rank that is read or trained.
inline constexpr int64_t kMaxLoraRank = 4096;

// One letter for each projection that can have a low-rank part.
inline constexpr std::string_view kLoraTargets = "qkvo";

// A row x of a target gets (alpha / rank) B A x on top of what the base's projection gives it.
struct LoraConfig {
  int64_t rank = 32;  // 1 to kMaxLoraRank
  double alpha = 16;  // above 0
  bool q = false, k = false, v = false, o = false;

  double scale() const { return alpha / static_cast<double>(rank); }
  // `target` is one of kLoraTargets.
  bool has(char target) const;
  void add(char target);
  bool operator==(const LoraConfig&) const = default;
};

// The parts of "base_model.model.model.layers.{layer}.self_attn.{target}_proj.lora_{matrix}.weight".
struct LoraTensorName {
  int64_t layer = 0;
  char target = 'q';  // one of kLoraTargets
  char matrix = 'A';  // A [rank, in] or B [out, rank]

  std::string text() const;
  // Of the base's matrix it belongs to: "model.layers.0.self_attn.q_proj.weight".
  std::string base() const;
};

// Nothing when `name` is not of that form.
std::optional<LoraTensorName> parse_lora_tensor_name(std::string_view name);

// Throws kMismatch when a LoRA tensor among `tensors` belongs to a projection that `config` does not list,
// has a shape that does not fit its rank, or lacks the other matrix. Other tensors are passed over.
void check_lora_tensors(std::span<const TensorView> tensors, const std::optional<LoraConfig>& config,
                        const std::string& what);

}  // namespace beacon
