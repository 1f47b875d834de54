#include "ops/attention_torch.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/checked.h"
#include "ops/device_kernels.h"
#include "ops/element_type.h"

namespace beacon::ops {
namespace {

constexpr int64_t kMultiple = 8;       // of the head size, as the kernels want it
constexpr int64_t kLargestHead = 256;  // that flash attention knows
constexpr int64_t kBiasMultiple = 16;  // of the distance between rows of a bias

// The gate over the scale as two numbers of the head's type whose sum is the gate to twice its precision: one
// would move a gate of -4 by up to 0.015. Its gradient goes through the first. [1, 1, N, 2]
at::Tensor split_gate(const at::Tensor& gate, double scale, at::ScalarType type) {
  const at::Tensor wanted = gate / scale;
  const at::Tensor high = wanted.to(type);
  const at::Tensor low = (wanted.detach() - high.detach().to(wanted.scalar_type())).to(type);
  return at::stack({high, low}, -1).view({1, 1, gate.numel(), 2});
}

// x [B, R, heads, H] with `more` [B, R, heads, M] (undefined: none) behind each head and zeros up to `width`,
// as [B, heads, R, width].
at::Tensor widened(const at::Tensor& x, const at::Tensor& more, int64_t width) {
  std::vector<at::Tensor> parts = {x};
  if (more.defined()) parts.push_back(more);
  const int64_t used = x.size(3) + (more.defined() ? more.size(3) : 0);
  if (used < width) parts.push_back(at::zeros({x.size(0), x.size(1), x.size(2), width - used}, x.options()));
  return (parts.size() == 1 ? x : at::cat(parts, -1)).transpose(1, 2);
}

// a [B, K, R, H] times b [B, K, H, S] in f32. On a GPU without a graph cuBLAS gives its f32 sums, which
// torch's product would round to bf16 first.
at::Tensor product_f32(const at::Tensor& a, const at::Tensor& b) {
  if (!a.is_cuda() || a.scalar_type() != at::kBFloat16 || a.requires_grad() || b.requires_grad())
    return at::matmul(a, b).to(at::kFloat);
  return at::bmm(a.flatten(0, 1), b.flatten(0, 1), at::kFloat)
      .view({a.size(0), a.size(1), a.size(2), b.size(3)});
}

}  // namespace

bool has_flash(const at::Tensor& q, const AttentionOptions& options) {
  const int64_t used = q.size(3) + (options.gate.defined() ? 2 : 0);
  return q.is_cuda() && q.scalar_type() == at::kBFloat16 && !options.mask.defined() &&
         ceil_div(used, kMultiple) * kMultiple <= kLargestHead;
}

bool has_masked_kernel(const at::Tensor& q, const AttentionOptions& options) {
  return q.is_cuda() && q.scalar_type() == at::kBFloat16 && options.mask.defined() &&
         !options.gate.defined() && q.size(3) % kMultiple == 0 && q.size(3) <= kLargestHead;
}

FlashArguments flash_arguments(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options) {
  at::Tensor gate, flags;
  int64_t used = q.size(3);
  if (options.gate.defined()) {
    used += 2;
    gate = split_gate(options.gate, options.scale, q.scalar_type()).expand({q.size(0), q.size(1), -1, -1});
    flags = options.gated_keys.to(k.scalar_type())
                .view({1, -1, 1, 1})
                .expand({k.size(0), k.size(1), k.size(2), 2});
  }
  const int64_t width = ceil_div(used, kMultiple) * kMultiple;
  return {widened(q, gate, width), widened(k, flags, width), widened(v, {}, width)};
}

at::Tensor attention_flash(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionOptions& options) {
  const FlashArguments in = flash_arguments(q, k, v, options);
  const at::Tensor out = std::get<0>(at::_scaled_dot_product_flash_attention(
      in.q, in.k, in.v, /*dropout_p=*/0.0, /*is_causal=*/true, /*return_debug_mask=*/false, options.scale));
  return out.narrow(-1, 0, q.size(3)).transpose(1, 2).contiguous();
}

// Rows start where the kernel wants them.
at::Tensor mask_bias(const at::Tensor& mask, at::ScalarType type, int64_t kv_heads) {
  const int64_t keys = mask.size(-1), width = ceil_div(keys, kBiasMultiple) * kBiasMultiple;
  std::vector<int64_t> sizes = mask.sizes().vec();
  sizes.back() = width;
  const at::Tensor bias = at::zeros(sizes, mask.options().dtype(type));
  bias.narrow(-1, 0, keys).masked_fill_(mask.eq(0), -std::numeric_limits<double>::infinity());
  if (mask.dim() == 2) return bias.narrow(-1, 0, keys);
  return bias.unsqueeze(1)
      .expand({-1, kv_heads, -1, -1})
      .reshape({-1, 1, mask.size(1), width})
      .narrow(-1, 0, keys);
}

MaskedArguments masked_arguments(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const AttentionOptions& options) {
  const int64_t batch = q.size(0), rows = q.size(1), head_dim = q.size(3);
  const int64_t keys = k.size(1), kv_heads = k.size(2), group = q.size(2) / kv_heads;
  const at::Tensor grouped = q.view({batch, rows, kv_heads, group, head_dim}).transpose(1, 2);
  const at::Tensor bias =
      options.bias.defined() ? options.bias : mask_bias(options.mask, q.scalar_type(), kv_heads);
  const auto shared = [&](const at::Tensor& x) {
    return x.transpose(1, 2).reshape({-1, 1, keys, head_dim}).expand({-1, group, -1, -1});
  };
  return {grouped.reshape({-1, rows, group, head_dim}).transpose(1, 2), shared(k), shared(v),
          bias.expand({batch * kv_heads, group, rows, keys})};
}

at::Tensor in_heads(const at::Tensor& x, int64_t batch) {
  const int64_t group = x.size(1), rows = x.size(2), head_dim = x.size(3);
  return x.view({batch, -1, group, rows, head_dim})
      .permute({0, 3, 1, 2, 4})
      .reshape({batch, rows, -1, head_dim});
}

namespace {

// The logarithms of sums are there where they are asked for.
Attended run_masked(const at::Tensor& q, const MaskedArguments& in, double scale, bool log_sums) {
  const auto result = at::_scaled_dot_product_efficient_attention(
      in.q, in.k, in.v, in.bias, log_sums, /*dropout_p=*/0.0, /*is_causal=*/false, scale);
  Attended attended{in_heads(std::get<0>(result), q.size(0)), {}};
  if (log_sums) {
    // The kernel pads rows to a multiple of 32, so that this would stay a view.
    const at::Tensor rows = std::get<1>(result).narrow(-1, 0, q.size(1)).contiguous();
    attended.log_sum = rows.view({q.size(0), q.size(2), q.size(1)});
  }
  return attended;
}

}  // namespace

at::Tensor attention_masked(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const AttentionOptions& options) {
  const MaskedArguments in = masked_arguments(q, k, v, options);
  const bool records =
      at::GradMode::is_enabled() && (in.q.requires_grad() || in.k.requires_grad() || in.v.requires_grad());
  return run_masked(q, in, options.scale, records).out;
}

at::Tensor attention_behind_seen(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const AttentionOptions& options) {
  const int64_t seen = options.seen_keys, others = k.size(1) - seen;
  const MaskedArguments masked =
      masked_arguments(q, k.narrow(1, seen, others), v.narrow(1, seen, others), options);
  const Attended behind = run_masked(q, masked, options.scale, /*log_sums=*/true);
  if (seen == 0) return behind.out;
  const auto flash = at::_scaled_dot_product_flash_attention(
      q.transpose(1, 2), k.narrow(1, 0, seen).transpose(1, 2), v.narrow(1, 0, seen).transpose(1, 2),
      /*dropout_p=*/0.0, /*is_causal=*/false, /*return_debug_mask=*/false, options.scale);
  return put_together({std::get<0>(flash).transpose(1, 2), std::get<1>(flash)}, behind);
}

namespace {

// In one launch, where there is a kernel; undefined where not.
at::Tensor put_together_on_device(const Attended& a, const Attended& b) {
  const kernels::DeviceKernels* own = device_kernels(a.out.device());
  const bool plain = a.out.is_contiguous() && b.out.is_contiguous() && a.log_sum.is_contiguous() &&
                     b.log_sum.is_contiguous() && b.out.scalar_type() == a.out.scalar_type() &&
                     a.out.size(3) % 4 == 0;
  if (own == nullptr || !plain) return {};
  const c10::DeviceGuard guard(a.out.device());
  const at::Tensor out = at::empty_like(a.out);
  kernels::DeviceMerge p;
  p.type = element_type(out);
  p.a = a.out.const_data_ptr();
  p.b = b.out.const_data_ptr();
  p.log_sum_a = a.log_sum.const_data_ptr<float>();
  p.log_sum_b = b.log_sum.const_data_ptr<float>();
  p.out = out.data_ptr();
  p.batch = out.size(0);
  p.rows = out.size(1);
  p.heads = out.size(2);
  p.head_dim = out.size(3);
  check_launch(own->merge(p, kDefaultStream));
  return out;
}

}  // namespace

at::Tensor put_together(const Attended& a, const Attended& b) {
  if (const at::Tensor out = put_together_on_device(a, b); out.defined()) return out;
  const at::Tensor share = at::sigmoid(b.log_sum - a.log_sum).transpose(1, 2).unsqueeze(-1);
  return at::lerp(a.out.to(at::kFloat), b.out.to(at::kFloat), share).to(a.out.scalar_type());
}

// The heads of a group share their keys, so they are rows of one product.
at::Tensor attention_plain(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionOptions& options) {
  const int64_t batch = q.size(0), rows = q.size(1), heads = q.size(2), head_dim = q.size(3);
  const int64_t keys = k.size(1), kv_heads = k.size(2), group = heads / kv_heads;
  const at::Tensor q_bkrh = q.reshape({batch, rows, kv_heads, group, head_dim})
                                .permute({0, 2, 3, 1, 4})
                                .reshape({batch, kv_heads, group * rows, head_dim});
  const at::Tensor k_bkhs = k.permute({0, 2, 3, 1});
  const at::Tensor v_bksh = v.transpose(1, 2);
  at::Tensor scores = product_f32(q_bkrh, k_bkhs) * options.scale;
  scores = scores.reshape({batch, kv_heads, group, rows, keys});
  if (options.gate.defined()) {
    scores = scores + options.gate.reshape({kv_heads, group, 1, 1}) * options.gated_keys.to(at::kFloat);
  }
  const at::Tensor visible = options.mask.defined()
                                 ? options.mask.to(at::kBool)
                                 : at::ones({rows, keys}, q.options().dtype(at::kBool)).tril(keys - rows);
  scores = scores.masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity());
  const at::Tensor weights = at::softmax(scores, -1).nan_to_num(0.0).to(q.scalar_type());
  const at::Tensor out = at::matmul(weights.reshape({batch, kv_heads, group * rows, keys}), v_bksh);
  return out.reshape({batch, kv_heads, group, rows, head_dim})
      .permute({0, 3, 1, 2, 4})
      .reshape({batch, rows, heads, head_dim});
}

at::Tensor attention_in_pieces(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options, int64_t scores) {
  const int64_t rows = q.size(1), keys = k.size(1);
  const int64_t piece =
      std::clamp(scores / std::max<int64_t>(1, q.size(0) * q.size(2) * keys), int64_t{1}, rows);
  if (piece >= rows) return attention_plain(q, k, v, options);
  std::vector<at::Tensor> out;
  for (int64_t begin = 0; begin < rows; begin += piece) {
    const int64_t count = std::min(piece, rows - begin);
    AttentionOptions own = options;
    // Without a mask the last row of the piece sees this many keys.
    const int64_t seen = options.mask.defined() ? keys : keys - rows + begin + count;
    if (options.mask.defined()) own.mask = options.mask.narrow(0, begin, count);
    if (options.gate.defined()) own.gated_keys = options.gated_keys.narrow(0, 0, seen);
    out.push_back(
        attention_plain(q.narrow(1, begin, count), k.narrow(1, 0, seen), v.narrow(1, 0, seen), own));
  }
  return at::cat(out, 1);
}

}  // namespace beacon::ops
