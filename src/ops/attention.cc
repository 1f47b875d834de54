#include "ops/attention.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <limits>

#include "base/check.h"
#include "kernels/attention.h"

namespace beacon::ops {
namespace {

// Up to this many queries the keys are split over threads, beyond it the rows.
constexpr int64_t kDecodeRows = 8;

kernels::AttentionParams make_params(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                     const AttentionOptions& options, const at::Tensor& out,
                                     int64_t batch_row) {
  kernels::AttentionParams params;
  const int64_t head_dim = k.size(3);
  const int64_t width = q.size(2);
  params.q = q.const_data_ptr<float>() + batch_row * q.stride(0);
  params.q_row_stride = q.stride(1);
  params.q_head_stride = head_dim;
  params.kv_type = k.scalar_type() == at::kBFloat16 ? DType::kBF16 : DType::kF32;
  params.k = static_cast<const std::byte*>(k.const_data_ptr()) + batch_row * k.stride(0) * k.element_size();
  params.k_head_stride = k.stride(1);
  params.k_row_stride = k.stride(2);
  params.v = static_cast<const std::byte*>(v.const_data_ptr()) + batch_row * v.stride(0) * v.element_size();
  params.v_head_stride = v.stride(1);
  params.v_row_stride = v.stride(2);
  params.out = out.data_ptr<float>() + batch_row * out.stride(0);
  params.out_row_stride = out.stride(1);
  params.out_head_stride = head_dim;
  params.num_queries = q.size(1);
  params.num_keys = k.size(2);
  params.num_heads = width / head_dim;
  params.num_kv_heads = k.size(1);
  params.head_dim = head_dim;
  params.scale = static_cast<float>(options.scale);
  if (options.mask.defined()) {
    params.mask = options.mask.const_data_ptr<uint8_t>();
    params.mask_row_stride = options.mask.stride(0);
  }
  if (options.gate.defined()) {
    params.head_bias = options.gate.const_data_ptr<float>();
    params.bias_keys = options.gated_keys.const_data_ptr<uint8_t>();
    params.bias_begin = 0;
    params.bias_end = params.num_keys;
  }
  return params;
}

void run_rows(const kernels::AttentionParams& params, AttentionContext& context) {
  const int64_t per_thread = kernels::attention_scratch_floats(params);
  float* scratch = context.per_thread.floats(per_thread * num_threads());
  parallel_for(kernels::attention_units(params), 1, [&](int64_t begin, int64_t end) {
    kernels::attention_prefill(params, begin, end, scratch + thread_index() * per_thread);
  });
}

void run_keys(const kernels::AttentionParams& params, AttentionContext& context) {
  const int64_t chunks = kernels::attention_decode_chunks(params, num_threads());
  const int64_t per_thread = kernels::attention_decode_scratch_floats(params);
  float* scratch = context.per_thread.floats(per_thread * num_threads());
  float* partials = context.partials.floats(kernels::attention_partial_floats(params, chunks));
  parallel_for(params.num_kv_heads * chunks, 1, [&](int64_t begin, int64_t end) {
    kernels::attention_decode(params, chunks, begin, end, partials, scratch + thread_index() * per_thread);
  });
  kernels::attention_merge(params, chunks, partials);
}

}  // namespace

void attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options,
               const at::Tensor& out, AttentionContext& context) {
  BEACON_CHECK(q.dim() == 3 && k.dim() == 4 && v.sizes() == k.sizes() && out.sizes() == q.sizes());
  BEACON_CHECK(q.size(2) % (k.size(1) * k.size(3)) == 0 && k.stride(3) == 1 && v.stride(3) == 1);
  BEACON_CHECK(options.mask.defined() || k.size(2) >= q.size(1));
  BEACON_CHECK(!options.mask.defined() ||
               (options.mask.size(0) == q.size(1) && options.mask.size(1) == k.size(2)));
  BEACON_CHECK(!options.gate.defined() ||
               (options.gated_keys.defined() && options.gated_keys.numel() == k.size(2)));
  for (int64_t b = 0; b < q.size(0); ++b) {
    const auto params = make_params(q, k, v, options, out, b);
    if (params.num_queries <= kDecodeRows) {
      run_keys(params, context);
    } else {
      run_rows(params, context);
    }
  }
}

at::Tensor attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options) {
  const int64_t kv_heads = k.size(1), keys = k.size(2), head_dim = k.size(3);
  const int64_t batch = q.size(0), rows = q.size(1), heads = q.size(2) / head_dim;
  const auto group = heads / kv_heads;
  const at::Tensor q_bnth = q.reshape({batch, rows, heads, head_dim}).transpose(1, 2).to(at::kFloat);
  const at::Tensor k_bnsh = k.to(at::kFloat).repeat_interleave(group, 1);
  const at::Tensor v_bnsh = v.to(at::kFloat).repeat_interleave(group, 1);
  at::Tensor scores = at::matmul(q_bnth, k_bnsh.transpose(2, 3)) * options.scale;
  if (options.gate.defined()) {
    scores = scores + options.gate.reshape({heads, 1, 1}) * options.gated_keys.to(at::kFloat);
  }
  const at::Tensor visible = options.mask.defined() ? options.mask.to(at::kBool)
                                                    : at::ones({rows, keys}, at::kBool).tril(keys - rows);
  scores = scores.masked_fill(visible.logical_not(), -std::numeric_limits<double>::infinity());
  const at::Tensor weights = at::softmax(scores, -1).nan_to_num(0.0);  // a row that sees nothing gets zeros
  return at::matmul(weights, v_bnsh).transpose(1, 2).reshape({batch, rows, heads * head_dim});
}

}  // namespace beacon::ops
