#pragma once
// Rotary position embedding: frequencies of every scaling kind, tables for a set of positions, the rotation
// itself.
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "io/model_config.h"
#include "ops/device.h"

namespace beacon::ops {

// cos and sin of each row's angles, scaled by the attention factor of YaRN. Both f32 [T, H / 2], contiguous.
struct RopeTable {
  at::Tensor cos;
  at::Tensor sin;

  RopeTable on(at::Device device) const { return {send(cos, device), send(sin, device)}; }
};

// The rotation of one model. Const after construction; shared by threads.
class Rope {
 public:
  // `divisors` [H / 2] divide the default frequencies (rope_freqs.weight of GGUF files) in place of
  // config.kind.
  Rope(const RopeConfig& config, int64_t head_dim, int64_t max_position_embeddings,
       std::optional<std::vector<float>> divisors = std::nullopt);

  // True when the frequencies depend on the longest sequence seen (dynamic NTK): keys must then be kept
  // before rotation.
  bool follows_length() const { return config_.kind == RopeKind::kDynamic; }

  // `longest` is the number of positions the sequence has reached; it matters only when follows_length().
  RopeTable table(std::span<const int32_t> positions, int64_t longest) const;
  // The same for positions first, first + 1, ... (count of them).
  RopeTable table(int64_t first, int64_t count, int64_t longest) const;

  // Turns keys that stand at some position to the one `by` later (earlier when negative): one row, not scaled
  // by the attention factor, which the keys hold already. Not for follows_length().
  RopeTable shift(int64_t by) const;

  const RopeConfig& config() const { return config_; }
  int64_t head_dim() const { return head_dim_; }

 private:
  std::vector<float> frequencies(int64_t longest) const;
  RopeTable table_scaled(std::span<const int32_t> positions, int64_t longest, float scale) const;

  RopeConfig config_;
  int64_t head_dim_;
  int64_t max_position_embeddings_;
  std::vector<float> fixed_;  // [H / 2], unless follows_length()
  float attention_factor_ = 1.0F;
};

// y = rotate(x): x, y [R, heads, H] f32 or bf16 with unit stride in H, the table's rows repeat every T rows
// (R = B * T). y may be x.
// Backwards it turns the other way, which is the gradient.
void apply_rope(const at::Tensor& x, const RopeTable& table, const at::Tensor& y, bool backwards = false);

}  // namespace beacon::ops
