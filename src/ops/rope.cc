#include "ops/rope.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "base/check.h"
#include "kernels/rows.h"
#include "ops/device_kernels.h"
#include "ops/element_type.h"
#include "ops/parallel.h"

namespace beacon::ops {
namespace {

// 1 / theta^(2i / H), the frequencies of the unscaled embedding.
std::vector<double> default_frequencies(double theta, int64_t head_dim) {
  std::vector<double> freq(static_cast<size_t>(head_dim / 2));
  for (size_t i = 0; i < freq.size(); ++i) {
    freq[i] = 1.0 / std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  }
  return freq;
}

// The dimension whose wavelength makes `rotations` turns over `positions` (YaRN, Peng et al. 2023,
// section 3.2).
double yarn_dimension(double rotations, int64_t head_dim, double theta, double positions) {
  return static_cast<double>(head_dim) * std::log(positions / (rotations * 2.0 * std::numbers::pi)) /
         (2.0 * std::log(theta));
}

// Keeps frequencies below dimension `low`, divides those above `high` by the factor, blends between.
void yarn_blend(std::vector<double>& freq, double low, double high, double factor) {
  if (low == high) high += 0.001;
  for (size_t i = 0; i < freq.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    freq[i] = freq[i] * (1.0 - ramp) + freq[i] / factor * ramp;
  }
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

double yarn_attention_factor(const RopeConfig& config) {
  if (config.original_beacon_yarn) return config.factor <= 1.0 ? 1.0 : 0.07 * std::log(config.factor) + 1.0;
  if (config.attention_factor) return *config.attention_factor;
  if (config.mscale && config.mscale_all_dim && *config.mscale != 0.0 && *config.mscale_all_dim != 0.0) {
    return yarn_mscale(config.factor, *config.mscale) / yarn_mscale(config.factor, *config.mscale_all_dim);
  }
  return yarn_mscale(config.factor, 1.0);
}

void scale_yarn(std::vector<double>& freq, const RopeConfig& config, int64_t head_dim,
                int64_t max_positions) {
  const double positions =
      static_cast<double>(config.original_beacon_yarn || config.original_max_position_embeddings == 0
                              ? max_positions
                              : config.original_max_position_embeddings);
  const double beta_fast = config.original_beacon_yarn ? 128.0 : config.beta_fast;
  const double beta_slow = config.original_beacon_yarn ? 2.0 : config.beta_slow;
  double low = yarn_dimension(beta_fast, head_dim, config.theta, positions);
  double high = yarn_dimension(beta_slow, head_dim, config.theta, positions);
  if (config.truncate || config.original_beacon_yarn) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  yarn_blend(freq, std::max(low, 0.0), std::min(high, static_cast<double>(head_dim - 1)), config.factor);
}

// Llama 3.1: long wavelengths are stretched by the factor, short ones kept, the rest blended.
void scale_llama3(std::vector<double>& freq, const RopeConfig& config) {
  const auto original = static_cast<double>(config.original_max_position_embeddings);
  for (double& f : freq) {
    const double wavelength = 2.0 * std::numbers::pi / f;
    if (wavelength < original / config.high_freq_factor) continue;
    if (wavelength > original / config.low_freq_factor) {
      f /= config.factor;
      continue;
    }
    const double smooth =
        (original / wavelength - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor);
    f = (1.0 - smooth) * f / config.factor + smooth * f;
  }
}

std::vector<float> to_float(const std::vector<double>& values) { return {values.begin(), values.end()}; }

}  // namespace

Rope::Rope(const RopeConfig& config, int64_t head_dim, int64_t max_position_embeddings,
           std::optional<std::vector<float>> divisors)
    : config_(config), head_dim_(head_dim), max_position_embeddings_(max_position_embeddings) {
  BEACON_CHECK(head_dim > 0 && head_dim % 2 == 0);
  if (config_.kind == RopeKind::kYarn) attention_factor_ = static_cast<float>(yarn_attention_factor(config_));
  if (follows_length()) return;
  std::vector<double> freq = default_frequencies(config_.theta, head_dim_);
  if (divisors) {
    BEACON_CHECK(divisors->size() == freq.size());
    for (size_t i = 0; i < freq.size(); ++i) freq[i] /= static_cast<double>((*divisors)[i]);
  } else if (config_.kind == RopeKind::kLinear) {
    for (double& f : freq) f /= config_.factor;
  } else if (config_.kind == RopeKind::kYarn) {
    scale_yarn(freq, config_, head_dim_, max_position_embeddings_);
  } else if (config_.kind == RopeKind::kLlama3) {
    scale_llama3(freq, config_);
  }
  fixed_ = to_float(freq);
}

std::vector<float> Rope::frequencies(int64_t longest) const {
  if (!follows_length()) return fixed_;
  double theta = config_.theta;
  const auto trained = static_cast<double>(max_position_embeddings_);
  if (static_cast<double>(longest) > trained) {
    // NTK-aware scaling that grows with the sequence (dynamic NTK).
    const double stretch = config_.factor * static_cast<double>(longest) / trained - (config_.factor - 1.0);
    const auto dim = static_cast<double>(head_dim_);
    theta *= std::pow(stretch, dim / (dim - 2.0));
  }
  return to_float(default_frequencies(theta, head_dim_));
}

RopeTable Rope::table(std::span<const int32_t> positions, int64_t longest) const {
  return table_scaled(positions, longest, attention_factor_);
}

RopeTable Rope::shift(int64_t by) const {
  BEACON_CHECK(!follows_length());
  const auto position = static_cast<int32_t>(by);
  return table_scaled({&position, 1}, 0, 1.0F);
}

RopeTable Rope::table_scaled(std::span<const int32_t> positions, int64_t longest, float scale) const {
  const std::vector<float> freq = frequencies(longest);
  const auto half = static_cast<int64_t>(freq.size());
  const auto rows = static_cast<int64_t>(positions.size());
  RopeTable table{at::empty({rows, half}, at::kFloat), at::empty({rows, half}, at::kFloat)};
  float* cos = table.cos.data_ptr<float>();
  float* sin = table.sin.data_ptr<float>();
  parallel_for(rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t i = 0; i < half; ++i) {
        // The product is rounded to f32 first, as the models were trained.
        const float angle =
            static_cast<float>(positions[static_cast<size_t>(r)]) * freq[static_cast<size_t>(i)];
        cos[r * half + i] = std::cos(angle) * scale;
        sin[r * half + i] = std::sin(angle) * scale;
      }
    }
  });
  return table;
}

RopeTable Rope::table(int64_t first, int64_t count, int64_t longest) const {
  std::vector<int32_t> positions(static_cast<size_t>(count));
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(first));
  return table(positions, longest);
}

namespace {

// What both kernels are told alike.
template <typename Params>
Params rotation(const at::Tensor& x, const RopeTable& table, const at::Tensor& y) {
  Params p;
  p.x_type = element_type(x);
  p.x = x.const_data_ptr();
  p.x_row_stride = x.stride(0);
  p.x_head_stride = x.stride(1);
  p.y_type = element_type(y);
  p.y = y.data_ptr();
  p.y_row_stride = y.stride(0);
  p.y_head_stride = y.stride(1);
  p.cos = table.cos.const_data_ptr<float>();
  p.sin = table.sin.const_data_ptr<float>();
  p.table_rows = table.cos.size(0);
  p.heads = x.size(1);
  p.head_dim = x.size(2);
  return p;
}

// In a kernel of the device, or in torch's own operations.
void rotate_on_device(const at::Tensor& x, const RopeTable& table, const at::Tensor& y, bool backwards) {
  const kernels::DeviceKernels* own = device_kernels(x.device());
  if (own != nullptr && !backwards && table.cos.is_contiguous() && table.sin.is_contiguous()) {
    const c10::DeviceGuard guard(x.device());
    auto rows = rotation<kernels::DeviceRotate>(x, table, y);
    rows.rows = x.size(0);
    return check_launch(own->rotate(rows, kDefaultStream));
  }
  const int64_t times = x.size(0) / table.cos.size(0);
  const auto spread = [&](const at::Tensor& rows) { return rows.repeat({times, 1}).unsqueeze(1); };
  const at::Tensor cos = spread(table.cos), sin = spread(backwards ? -table.sin : table.sin);
  const auto halves = x.to(at::kFloat).chunk(2, -1);
  at::Tensor out = y;
  out.copy_(at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1));
}

}  // namespace

void apply_rope(const at::Tensor& x, const RopeTable& table, const at::Tensor& y, bool backwards) {
  BEACON_CHECK(x.dim() == 3 && y.sizes() == x.sizes() && x.stride(2) == 1 && y.stride(2) == 1);
  BEACON_CHECK(x.size(2) == 2 * table.cos.size(1));
  if (x.size(0) == 0) return;
  const int64_t table_rows = table.cos.size(0);
  BEACON_CHECK(table_rows > 0 && x.size(0) % table_rows == 0);
  BEACON_CHECK(y.device() == x.device() && table.cos.device() == x.device());
  if (!x.is_cpu()) return rotate_on_device(x, table, y, backwards);
  auto rows = rotation<kernels::RotateRows>(x, table, y);
  rows.backwards = backwards;
  parallel_for(x.size(0), 16, [&](int64_t begin, int64_t end) { kernels::rotate_rows(rows, begin, end); });
}

}  // namespace beacon::ops
