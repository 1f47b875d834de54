#include "ops/autograd/attention_fused.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "base/check.h"
#include "kernels/attention.h"
#include "ops/element_type.h"
#include "ops/parallel.h"

namespace beacon::ops::autograd {
namespace {

using kernels::AttentionParams;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// What both passes read; out and lse are written by the first.
struct Forward {
  at::Tensor q, k, v;                 // [B, T, N, H], [B, S, K, H], unit stride over H
  at::Tensor gate, gated_keys, mask;  // f32 [N], u8 [S], u8 [T, S]; or undefined
  double scale = 1.0;
  at::Tensor out;  // [B, T, N, H]
  at::Tensor lse;  // f32 [B, N, T]
};

// What the second pass writes, beside what it reads.
struct Gradients {
  at::Tensor dout, dq, dk, dv;  // as out, q, k, v
  at::Tensor dgate;             // f32 [B, N] or undefined
};

at::Tensor unit_stride(const at::Tensor& x) { return x.stride(-1) == 1 ? x : x.contiguous(); }

const std::byte* batch_row(const at::Tensor& x, int64_t b) {
  return static_cast<const std::byte*>(x.const_data_ptr()) + b * x.stride(0) * x.element_size();
}
kernels::HeadArray input(const at::Tensor& x, int64_t b) {
  return {batch_row(x, b), x.stride(1), x.stride(2), element_type(x)};
}
kernels::HeadOutput output(const at::Tensor& x, int64_t b) {
  return {const_cast<std::byte*>(batch_row(x, b)), x.stride(1), x.stride(2), element_type(x)};
}

AttentionParams forward_params(const Forward& f, int64_t b) {
  AttentionParams p;
  p.q = input(f.q, b);
  p.k = input(f.k, b);
  p.v = input(f.v, b);
  p.num_queries = f.q.size(1);
  p.num_keys = f.k.size(1);
  p.num_heads = f.q.size(2);
  p.num_kv_heads = f.k.size(2);
  p.head_dim = f.q.size(3);
  p.scale = static_cast<float>(f.scale);
  if (f.mask.defined()) {
    p.mask = f.mask.const_data_ptr<uint8_t>();
    p.mask_row_stride = f.mask.stride(0);
  }
  if (f.gate.defined()) {
    p.head_bias = f.gate.const_data_ptr<float>();
    p.bias_keys = f.gated_keys.const_data_ptr<uint8_t>();
  }
  p.out = output(f.out, b);
  p.lse = f.lse.data_ptr<float>() + b * f.lse.stride(0);
  return p;
}

std::vector<AttentionParams> backward_params(const Forward& f, const Gradients& g) {
  std::vector<AttentionParams> batch;
  for (int64_t b = 0; b < f.q.size(0); ++b) {
    AttentionParams p = forward_params(f, b);
    p.dout = input(g.dout, b);
    p.dq = output(g.dq, b);
    p.dk = output(g.dk, b);
    p.dv = output(g.dv, b);
    if (g.dgate.defined()) p.dbias = g.dgate.data_ptr<float>() + b * g.dgate.stride(0);
    batch.push_back(p);
  }
  return batch;
}

// run(batch row, unit, scratch of the thread) for all units of all batch rows.
template <typename Run>
void for_units(int64_t batch, int64_t units, int64_t scratch_floats, const Run& run) {
  Scratch scratch;
  float* all = scratch.floats(scratch_floats * num_threads());
  parallel_each(batch * units,
                [&](int64_t i) { run(i / units, i % units, all + thread_index() * scratch_floats); });
}

void run_forward(const Forward& f) {
  const AttentionParams first = forward_params(f, 0);
  for_units(f.q.size(0), attention_forward_units(first), attention_forward_scratch_floats(first),
            [&](int64_t b, int64_t unit, float* scratch) {
              kernels::attention_forward(forward_params(f, b), unit, unit + 1, scratch);
            });
}

void run_backward(const Forward& f, const Gradients& g) {
  const std::vector<AttentionParams> batch = backward_params(f, g);
  const auto batch_size = static_cast<int64_t>(batch.size());
  const AttentionParams& first = batch[0];
  const int64_t shared = attention_backward_workspace_floats(first);
  const int64_t per_thread = attention_backward_scratch_floats(first);
  Scratch workspaces;
  float* work = workspaces.floats(shared * batch_size);
  const auto run = [&](int64_t units, auto phase) {
    for_units(batch_size, units, per_thread, [&](int64_t b, int64_t unit, float* scratch) {
      phase(batch[static_cast<size_t>(b)], unit, unit + 1, work + b * shared, scratch);
    });
  };
  run(attention_backward_row_units(first), kernels::attention_backward_rows);
  run(attention_backward_key_units(first), kernels::attention_backward_keys);
  run(attention_backward_row_units(first), kernels::attention_backward_queries);
  for (int64_t b = 0; b < batch_size; ++b)
    attention_backward_bias(batch[static_cast<size_t>(b)], work + b * shared);
}

class FusedAttention : public torch::autograd::Function<FusedAttention> {
 public:
  // `gate` apart from the options because it may have a gradient; without elements there is none.
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const at::Tensor& gate, const AttentionOptions& options) {
    Forward f{unit_stride(q), unit_stride(k), unit_stride(v)};
    if (gate.numel() > 0) {
      f.gate = gate;
      f.gated_keys = options.gated_keys.to(at::kByte).contiguous();
    }
    if (options.mask.defined()) f.mask = unit_stride(options.mask.to(at::kByte));
    f.scale = options.scale;
    f.out = at::empty(q.sizes(), q.options());
    f.lse = at::empty({q.size(0), q.size(2), q.size(1)}, q.options().dtype(at::kFloat));
    run_forward(f);
    ctx->save_for_backward({f.q, f.k, f.v, f.gate, f.gated_keys, f.mask, f.out, f.lse});
    ctx->saved_data["scale"] = f.scale;
    return f.out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Forward f{
        saved[0], saved[1], saved[2], saved[3], saved[4], saved[5], ctx->saved_data["scale"].toDouble(),
        saved[6], saved[7]};
    Gradients g;
    g.dout = unit_stride(grads[0]);
    g.dq = at::empty(f.q.sizes(), f.q.options());
    g.dk = at::empty(f.k.sizes(), f.k.options());
    g.dv = at::empty(f.v.sizes(), f.v.options());
    if (f.gate.defined() && ctx->needs_input_grad(3))
      g.dgate = at::empty({f.q.size(0), f.q.size(2)}, f.gate.options());
    run_backward(f, g);
    return {g.dq, g.dk, g.dv, g.dgate.defined() ? g.dgate.sum(0) : at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor attention_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const AttentionOptions& options) {
  const at::Tensor gate = options.gate.defined() ? options.gate.to(at::kFloat).reshape({-1}).contiguous()
                                                 : at::empty({0}, q.options().dtype(at::kFloat));
  return FusedAttention::apply(q, k, v, gate, options);
}

}  // namespace beacon::ops::autograd
