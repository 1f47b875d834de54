#include "ops/autograd/attention.h"

#include <ATen/Functions.h>

#include <vector>

#include "base/check.h"
#include "ops/attention_torch.h"
#include "ops/autograd/attention_fused.h"

namespace beacon::ops::autograd {
namespace {

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options) {
  BEACON_CHECK(q.dim() == 4 && k.dim() == 4 && v.sizes() == k.sizes());
  BEACON_CHECK(q.size(0) == k.size(0) && q.size(3) == k.size(3) && q.size(2) % k.size(2) == 0);
  BEACON_CHECK(options.mask.defined() || k.size(1) >= q.size(1));
  BEACON_CHECK(!options.mask.defined() ||
               (options.mask.size(-2) == q.size(1) && options.mask.size(-1) == k.size(1)));
  BEACON_CHECK(!options.mask.defined() || options.mask.dim() == 2 || options.mask.size(0) == q.size(0));
  BEACON_CHECK(!options.gate.defined() ||
               (options.gate.numel() == q.size(2) && options.gated_keys.numel() == k.size(1)));
}

// Each batch row under a mask of its own.
at::Tensor attention_one_by_one(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                const AttentionOptions& options, const RecordingContext& context) {
  std::vector<at::Tensor> out;
  for (int64_t b = 0; b < q.size(0); ++b) {
    AttentionOptions own = options;
    own.mask = options.mask[b];
    out.push_back(attention(q.narrow(0, b, 1), k.narrow(0, b, 1), v.narrow(0, b, 1), own, context));
  }
  return at::cat(out);
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionOptions& options, const RecordingContext& context) {
  check(q, k, v, options);
  const at::Tensor cast_q = q.to(context.compute), cast_k = k.to(context.compute),
                   cast_v = v.to(context.compute);
  const bool nothing = q.numel() == 0 || k.numel() == 0;
  const bool masked_kernel = context.recording == Recording::kFused && has_masked_kernel(cast_q, options);
  if (options.mask.defined() && options.mask.dim() == 3 && !(masked_kernel && !nothing))
    return attention_one_by_one(q, k, v, options, context);
  if (context.has_kernels() && !nothing) return attention_fused(cast_q, cast_k, cast_v, options);
  if (context.recording == Recording::kFused && !nothing) {
    if (has_flash(cast_q, options)) return attention_flash(cast_q, cast_k, cast_v, options);
    if (masked_kernel) return attention_masked(cast_q, cast_k, cast_v, options);
  }
  return attention_plain(cast_q, cast_k, cast_v, options);
}

}  // namespace beacon::ops::autograd
