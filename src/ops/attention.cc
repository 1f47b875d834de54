#include "ops/attention.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "kernels/attention.h"
#include "kernels/attention_decode.h"
#include "ops/attention_torch.h"
#include "ops/device_kernels.h"
#include "ops/element_type.h"
#include "ops/key_rows.h"

namespace beacon::ops {
namespace {

// Head n of row r of x [rows, heads * head_dim].
kernels::HeadArray heads_of(const at::Tensor& x, int64_t head_dim) {
  return {x.const_data_ptr(), x.stride(0), head_dim, element_type(x)};
}

// x [K, S, width] as rows of heads.
kernels::HeadArray rows_of(const at::Tensor& x) {
  return {x.const_data_ptr(), x.stride(1), x.stride(0), row_dtype(x.scalar_type())};
}

// One batch row: q, out [T, N * H], k, v [K, S, width].
struct Heads {
  at::Tensor q, k, v, out;
};

// What both kernels are told alike.
template <typename Params>
Params shared_params(const Heads& x, const AttentionOptions& options) {
  Params params;
  params.head_dim = row_head_dim(x.k);
  params.num_queries = x.q.size(0);
  params.num_keys = x.k.size(1);
  params.num_heads = x.q.size(1) / params.head_dim;
  params.num_kv_heads = x.k.size(0);
  params.scale = static_cast<float>(options.scale);
  if (options.mask.defined()) {
    params.mask = options.mask.const_data_ptr<uint8_t>();
    params.mask_row_stride = options.mask.stride(0);
  }
  if (options.gate.defined()) {
    params.head_bias = options.gate.const_data_ptr<float>();
    params.bias_keys = options.gated_keys.const_data_ptr<uint8_t>();
  }
  return params;
}

void run_rows(const Heads& x, const AttentionOptions& options, AttentionContext& context) {
  auto params = shared_params<kernels::AttentionParams>(x, options);
  params.seen_keys = options.seen_keys;
  params.integers = context.integers && x.q.scalar_type() == at::kFloat;
  params.q = heads_of(x.q, params.head_dim);
  params.k = rows_of(x.k);
  params.v = rows_of(x.v);
  params.out = {x.out.data_ptr(), x.out.stride(0), params.head_dim, element_type(x.out)};
  const int64_t per_thread = kernels::attention_forward_scratch_floats(params);
  float* scratch = context.per_thread.floats(per_thread * num_threads());
  // Later rows see more keys: units are handed out one by one.
  parallel_each(kernels::attention_forward_units(params), [&](int64_t unit) {
    kernels::attention_forward(params, unit, unit + 1, scratch + thread_index() * per_thread);
  });
}

kernels::AttentionDecodeParams decode_params(const Heads& x, const AttentionOptions& options) {
  auto params = shared_params<kernels::AttentionDecodeParams>(x, options);
  params.q = x.q.const_data_ptr<float>();
  params.q_row_stride = x.q.stride(0);
  params.q_head_stride = params.head_dim;
  params.kv_type = row_dtype(x.k.scalar_type());
  params.k = x.k.const_data_ptr();
  params.k_head_stride = x.k.stride(0);
  params.k_row_stride = x.k.stride(1);
  params.v = x.v.const_data_ptr();
  params.v_head_stride = x.v.stride(0);
  params.v_row_stride = x.v.stride(1);
  params.out = x.out.data_ptr<float>();
  params.out_row_stride = x.out.stride(0);
  params.out_head_stride = params.head_dim;
  params.bias_end = params.num_keys;
  return params;
}

// Few queries over many keys, and where this work stands among that of others.
struct KeyWork {
  kernels::AttentionDecodeParams params;
  int64_t chunks;
  int64_t first_unit;
  int64_t first_partial;

  int64_t units() const { return params.num_kv_heads * chunks; }
  int64_t partials() const { return kernels::attention_partial_floats(params, chunks); }
};
using KeyWorks = c10::SmallVector<KeyWork, 1>;

void add_work(const Heads& x, const AttentionOptions& options, KeyWorks& works) {
  const kernels::AttentionDecodeParams params = decode_params(x, options);
  const int64_t unit = works.empty() ? 0 : works.back().first_unit + works.back().units();
  const int64_t partial = works.empty() ? 0 : works.back().first_partial + works.back().partials();
  works.push_back({params, kernels::attention_decode_chunks(params, num_threads()), unit, partial});
}

void run_keys(const KeyWorks& works, AttentionContext& context) {
  if (works.empty()) return;
  int64_t per_thread = 0;
  for (const KeyWork& work : works)
    per_thread = std::max(per_thread, kernels::attention_decode_scratch_floats(work.params));
  float* scratch = context.per_thread.floats(per_thread * num_threads());
  float* partials = context.partials.floats(works.back().first_partial + works.back().partials());
  // Sequences differ in length: units are handed out one by one.
  parallel_each(works.back().first_unit + works.back().units(), [&](int64_t unit) {
    const auto work = std::find_if(works.begin(), works.end() - 1, [&](const KeyWork& each) {
      return unit < each.first_unit + each.units();
    });
    const int64_t own = unit - work->first_unit;
    kernels::attention_decode(work->params, work->chunks, own, own + 1, partials + work->first_partial,
                              scratch + thread_index() * per_thread);
  });
  for (const KeyWork& work : works)
    kernels::attention_merge(work.params, work.chunks, partials + work.first_partial);
}

void check_call(const AttentionCall& call) {
  const auto& [q, k, v, options, out] = call;
  BEACON_CHECK(q.dim() == 3 && k.dim() == 4 && v.sizes() == k.sizes() && out.sizes() == q.sizes());
  BEACON_CHECK(q.size(2) % (k.size(1) * row_head_dim(k)) == 0 && k.stride(3) == 1 && v.stride(3) == 1);
  BEACON_CHECK(options.mask.defined() || k.size(2) >= q.size(1));
  BEACON_CHECK(options.seen_keys == 0 || options.mask.defined());
  BEACON_CHECK(options.seen_keys <= std::max(int64_t{0}, k.size(2) - q.size(1)));
  const int64_t unmasked = q.is_cpu() ? 0 : options.seen_keys;
  BEACON_CHECK(!options.mask.defined() ||
               (options.mask.size(0) == q.size(1) && options.mask.size(1) == k.size(2) - unmasked));
  BEACON_CHECK(!options.gate.defined() ||
               (options.gated_keys.defined() && options.gated_keys.numel() == k.size(2)));
  BEACON_CHECK(q.scalar_type() == out.scalar_type() && k.scalar_type() == v.scalar_type());
}

// Scores of all heads that exist at once, where nothing fuses them: 1 GiB of f32.
constexpr int64_t kScores = int64_t{1} << 28;

// One batch row of few queries in our own kernel.
void attend_few_on_device(const kernels::DeviceKernels& own, const Heads& x,
                          const AttentionOptions& options) {
  kernels::DeviceAttention p;
  p.q_type = element_type(x.q);
  p.q = x.q.const_data_ptr();
  p.q_row_stride = x.q.stride(0);
  p.kv_type = element_type(x.k);
  p.k = x.k.const_data_ptr();
  p.k_head_stride = x.k.stride(0);
  p.k_row_stride = x.k.stride(1);
  p.v = x.v.const_data_ptr();
  p.v_head_stride = x.v.stride(0);
  p.v_row_stride = x.v.stride(1);
  p.out_type = element_type(x.out);
  p.out = x.out.data_ptr();
  p.out_row_stride = x.out.stride(0);
  if (options.mask.defined()) {
    p.mask = options.mask.const_data_ptr<uint8_t>();
    p.mask_row_stride = options.mask.stride(0);
    p.seen_keys = options.seen_keys;
  }
  if (options.gate.defined()) {
    p.gate = options.gate.const_data_ptr<float>();
    p.gated_keys = options.gated_keys.const_data_ptr<uint8_t>();
  }
  p.scale = static_cast<float>(options.scale);
  p.rows = x.q.size(0);
  p.keys = x.k.size(1);
  p.head_dim = x.k.size(2);
  p.heads = x.q.size(1) / p.head_dim;
  p.kv_heads = x.k.size(0);
  p.chunk_keys = kernels::device_attention_chunk(p);
  const c10::DeviceGuard guard(x.q.device());
  // Torch's allocator hands it to nobody before the stream is through with it.
  const at::Tensor partials =
      at::empty({kernels::device_attention_partials(p)}, x.q.options().dtype(at::kFloat));
  p.partials = partials.data_ptr<float>();
  check_launch(own.attention(p, kDefaultStream));
}

bool has_few_kernel(const AttentionCall& call) {
  constexpr int64_t kMultiple = kernels::kDeviceHeadMultiple;
  const int64_t head_dim = call.k.size(3);
  // Of [.., rows, numbers] and [.., heads, rows, numbers].
  const auto rows_apart = [](const at::Tensor& x) {
    bool apart = x.storage_offset() % kMultiple == 0;
    for (int64_t d = 0; d + 1 < x.dim(); ++d) apart = apart && x.stride(d) % kMultiple == 0;
    return apart;
  };
  return device_kernels(call.q.device()) != nullptr && call.q.size(1) <= kFewQueries &&
         head_dim % kMultiple == 0 && head_dim <= kernels::kDeviceLargestHead && rows_apart(call.q) &&
         rows_apart(call.k) && rows_apart(call.v);
}

// The mask of all keys.
AttentionOptions with_whole_mask(const AttentionOptions& options) {
  if (options.seen_keys == 0) return options;
  AttentionOptions whole = options;
  const at::Tensor seen = at::ones({options.mask.size(0), options.seen_keys}, options.mask.options());
  whole.mask = at::cat({seen, options.mask}, 1);
  whole.bias = at::Tensor();
  whole.seen_keys = 0;
  return whole;
}

// Few queries go through our own kernel. Without it torch's own products read keys once, where its kernels
// would copy all of them, to widen or to group them.
void attend_on_device(const AttentionCall& call) {
  const int64_t head_dim = call.k.size(3);
  if (has_few_kernel(call)) {
    for (int64_t b = 0; b < call.q.size(0); ++b)
      attend_few_on_device(*device_kernels(call.q.device()), {call.q[b], call.k[b], call.v[b], call.out[b]},
                           call.options);
    return;
  }
  const bool bf16 = call.q.scalar_type() == at::kBFloat16 && call.k.scalar_type() == at::kBFloat16;
  const auto cast = [&](const at::Tensor& x) { return bf16 ? x : x.to(at::kFloat); };
  const at::Tensor q = cast(call.q).reshape({call.q.size(0), call.q.size(1), -1, head_dim});
  const at::Tensor k = cast(call.k).transpose(1, 2), v = cast(call.v).transpose(1, 2);
  const bool few = call.q.size(1) <= kFewQueries;
  const auto attended = [&] {
    if (has_flash(q, call.options) && !(few && call.options.gate.defined()))
      return attention_flash(q, k, v, call.options);
    if (has_masked_kernel(q, call.options) && !few) return attention_behind_seen(q, k, v, call.options);
    return attention_in_pieces(q, k, v, with_whole_mask(call.options), kScores);
  };
  at::Tensor out = call.out;
  out.copy_(attended().reshape(out.sizes()));
}

}  // namespace

void attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttentionOptions& options,
               const at::Tensor& out, AttentionContext& context) {
  const AttentionCall call{q, k, v, options, out};
  attention_group({&call, 1}, context);
}

void attention_group(std::span<const AttentionCall> calls, AttentionContext& context) {
  KeyWorks works;
  for (const AttentionCall& call : calls) {
    check_call(call);
    if (!call.q.is_cpu()) {
      attend_on_device(call);
      continue;
    }
    const bool few = call.q.size(1) <= kFewQueries && call.q.scalar_type() == at::kFloat;
    for (int64_t b = 0; b < call.q.size(0); ++b) {
      const Heads heads = {call.q[b], call.k[b], call.v[b], call.out[b]};
      if (few) {
        add_work(heads, call.options, works);
      } else {
        run_rows(heads, call.options, context);
      }
    }
  }
  run_keys(works, context);
}

at::Tensor attention_reference(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                               const AttentionOptions& options) {
  const int64_t kv_heads = k.size(1), keys = k.size(2), head_dim = row_head_dim(k);
  const int64_t batch = q.size(0), rows = q.size(1), heads = q.size(2) / head_dim;
  const auto group = heads / kv_heads;
  const at::Tensor q_bnth = q.reshape({batch, rows, heads, head_dim}).transpose(1, 2).to(at::kFloat);
  const auto wide = [](const at::Tensor& x) {
    return x.scalar_type() == kBlockRows ? float_rows(x) : x.to(at::kFloat);
  };
  const at::Tensor k_bnsh = wide(k).repeat_interleave(group, 1);
  const at::Tensor v_bnsh = wide(v).repeat_interleave(group, 1);
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
