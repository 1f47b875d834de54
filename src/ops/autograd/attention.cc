#include "ops/autograd/attention.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <limits>

#include "base/check.h"
#include "ops/autograd/attention_flash.h"
#include "ops/autograd/attention_fused.h"

namespace beacon::ops::autograd {
namespace {

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  BEACON_CHECK(q.dim() == 4 && k.dim() == 4 && v.sizes() == k.sizes());
  BEACON_CHECK(q.size(0) == k.size(0) && q.size(3) == k.size(3) && q.size(2) % k.size(2) == 0);
  BEACON_CHECK(options.mask.defined() || k.size(1) >= q.size(1));
  BEACON_CHECK(!options.mask.defined() ||
               (options.mask.size(0) == q.size(1) && options.mask.size(1) == k.size(1)));
  BEACON_CHECK(!options.gate.defined() ||
               (options.gate.numel() == q.size(2) && options.gated_keys.numel() == k.size(1)));
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
  at::Tensor scores = at::matmul(q_bkrh, k_bkhs).to(at::kFloat) * options.scale;
  scores = scores.view({batch, kv_heads, group, rows, keys});
  if (options.gate.defined()) {
    scores = scores + options.gate.reshape({kv_heads, group, 1, 1}) * options.gated_keys.to(at::kFloat);
  }
  const at::Tensor visible = options.mask.defined() ? options.mask.to(at::kBool)
                                                    : at::ones({rows, keys}, q.options().dtype(at::kBool))
                                                          .tril(keys - rows);
  scores = scores.masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity());
  const at::Tensor weights = at::softmax(scores, -1).nan_to_num(0.0).to(q.scalar_type());
  const at::Tensor out = at::matmul(weights.view({batch, kv_heads, group * rows, keys}), v_bksh);
  return out.view({batch, kv_heads, group, rows, head_dim})
      .permute({0, 3, 1, 2, 4})
      .reshape({batch, rows, heads, head_dim});
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionOptions& options, const RecordingContext& context) {
  check(q, k, v, options);
  const at::Tensor cast_q = q.to(context.compute), cast_k = k.to(context.compute),
                   cast_v = v.to(context.compute);
  const bool nothing = q.numel() == 0 || k.numel() == 0;
  if (context.has_kernels() && !nothing) return attention_fused(cast_q, cast_k, cast_v, options);
  if (has_flash(context, options) && !nothing) return attention_flash(cast_q, cast_k, cast_v, options);
  return attention_plain(cast_q, cast_k, cast_v, options);
}

}  // namespace beacon::ops::autograd
