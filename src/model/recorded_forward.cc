#include "model/recorded_forward.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>

#include <cmath>
#include <utility>

#include "base/check.h"
#include "ops/attention_torch.h"
#include "ops/autograd/attention.h"
#include "ops/autograd/frozen_linear.h"
#include "ops/autograd/rms_norm.h"
#include "ops/autograd/rope.h"
#include "ops/autograd/swiglu.h"
#include "ops/device.h"
#include "ops/embedding.h"

namespace beacon {

namespace recorded = ops::autograd;

// What is the same for all layers of one forward. The last layer computes queries of its last rows only.
struct RecordedNetwork::Step {
  int64_t rows = 0;                     // T
  int64_t first = 0;                    // first row whose output is needed; T: none
  ops::RopeTable table, key_table;      // of the T rows, of all S keys; or of those of every batch row
  at::Tensor beacon_rows;               // i64 of [0, T); undefined: none
  at::Tensor beacon_outputs;            // i64 of [0, T - first); undefined: none
  at::Tensor replica_to, replica_from;  // i64 of [0, T); undefined: none
  ops::AttentionOptions attention;
};

namespace {

// A copy: the graph outlives the call.
at::Tensor bytes_of(std::span<const uint8_t> bytes, at::IntArrayRef sizes, at::Device device) {
  return at::from_blob(const_cast<uint8_t*>(bytes.data()), sizes, at::kByte).clone().to(device);
}

at::Tensor from_row(std::span<const int64_t> rows, int64_t first, at::Device device) {
  std::vector<int64_t> index;
  for (const int64_t r : rows) {
    if (r >= first) index.push_back(r - first);
  }
  return index.empty() ? at::Tensor() : ops::index_on(device, index);
}

ops::RopeTable on_device(const ops::RopeTable& table, at::Device device) {
  return {table.cos.to(device), table.sin.to(device)};
}

// Rows [first, first + count) of each batch row.
ops::RopeTable rows_of(const ops::RopeTable& table, int64_t rows, int64_t first, int64_t count) {
  const auto part = [&](const at::Tensor& x) {
    return x.view({-1, rows, x.size(1)}).narrow(1, first, count).reshape({-1, x.size(1)});
  };
  return {part(table.cos), part(table.sin)};
}

// x [B, R, heads, H], by a table of R rows or of B * R.
at::Tensor turned(const at::Tensor& x, const ops::RopeTable& table,
                  const recorded::RecordingContext& context) {
  if (table.cos.size(0) == x.size(1)) return recorded::rope(x, table, context);
  return recorded::rope(x.reshape({1, -1, x.size(2), x.size(3)}), table, context).view(x.sizes());
}

// Sliding-window attention of the base: the oldest keys drop out of sight.
at::Tensor sliding_mask(const at::Tensor& mask, int64_t rows, int64_t keys, int64_t window) {
  at::Tensor visible = mask.defined() ? mask.clone() : at::ones({rows, keys}, at::kByte).tril(keys - rows);
  return visible.triu_(keys - rows - window + 1);
}

// The operations of ops/autograd know frozen weights only; a base that wants gradients (trainable_base())
// goes through torch's own.
at::Tensor dense(const at::Tensor& x, const RecordedMatrix& m, const recorded::RecordingContext& context) {
  if (m.weight.requires_grad()) return at::linear(x, m.weight, m.bias);
  return recorded::frozen_linear(x, m.weight, m.bias, context);
}

// What LoRA adds to a projection. Both products are small, so torch's own operations record them.
at::Tensor low_rank(const at::Tensor& x, const LoraMatrices& m, double scale, at::ScalarType compute) {
  const at::Tensor inner = at::matmul(x.to(compute), m.a.to(compute).t());
  return at::matmul(inner * scale, m.b.to(compute).t());
}

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, double eps,
                const recorded::RecordingContext& context) {
  if (weight.requires_grad()) return x * at::rsqrt(x.square().mean(-1, true) + eps) * weight;
  return recorded::rms_norm(x, weight, eps, context);
}

// The row of the table an id takes; a beacon's, which is written over later, takes any.
int64_t table_row(int64_t id, int64_t vocabulary) {
  require(id >= 0 && id <= vocabulary, ErrorCode::kInvalidArgument,
          "token id {} is outside the vocabulary of {} tokens", id, vocabulary);
  return id == vocabulary ? 0 : id;
}

// Replicas take the q, k or v of the beacon they stand for.
at::Tensor with_replicas(const at::Tensor& x, const at::Tensor& to, const at::Tensor& from) {
  return to.defined() ? x.index_copy(1, to, x.index_select(1, from)) : x;
}

void set_replicas(std::span<const int32_t> copy_from, at::Device device, at::Tensor& to, at::Tensor& from) {
  std::vector<int64_t> targets, sources;
  for (size_t r = 0; r < copy_from.size(); ++r) {
    if (copy_from[r] < 0) continue;
    targets.push_back(static_cast<int64_t>(r));
    sources.push_back(copy_from[r]);
  }
  if (targets.empty()) return;
  to = ops::index_on(device, targets);
  from = ops::index_on(device, sources);
}

}  // namespace

RecordedNetwork::RecordedNetwork(const ModelConfig& config, RecordedBase base, BeaconParameters parameters,
                                 ops::Rope rope, recorded::RecordingContext context)
    : config_(config),
      base_(std::move(base)),
      parameters_(std::move(parameters)),
      rope_(std::move(rope)),
      context_(context) {
  BEACON_CHECK(base_.layers.size() == parameters_.layers.size());
}

RecordedNetwork::Step RecordedNetwork::make_step(const RecordedRows& in, int64_t batch, int64_t keys) const {
  const at::Device device = context_.device;
  Step step;
  step.rows = static_cast<int64_t>(in.ids.size()) / batch;
  step.first = in.hidden_rows.empty() ? step.rows : in.hidden_rows.front();
  step.table = on_device(rope_.table(in.positions, in.longest), device);
  step.key_table = on_device(rope_.table(in.key_positions, in.longest), device);
  step.beacon_rows = from_row(in.beacon_rows, 0, device);
  step.beacon_outputs = from_row(in.beacon_rows, step.first, device);
  set_replicas(in.copy_from, device, step.replica_to, step.replica_from);
  step.attention.scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
  if (!in.mask.empty()) {
    const bool shared = static_cast<int64_t>(in.mask.size()) == step.rows * keys;
    step.attention.mask = shared ? bytes_of(in.mask, {step.rows, keys}, at::kCPU)
                                 : bytes_of(in.mask, {batch, step.rows, keys}, at::kCPU);
  }
  if (config_.sliding_window && keys > *config_.sliding_window) {
    step.attention.mask = sliding_mask(step.attention.mask, step.rows, keys, *config_.sliding_window);
  }
  if (step.attention.mask.defined()) step.attention.mask = step.attention.mask.to(device);
  // A large one: made once for all layers.
  if (step.attention.mask.defined() && device.is_cuda() && context_.compute == at::kBFloat16)
    step.attention.bias = ops::mask_bias(step.attention.mask, context_.compute, config_.num_key_value_heads);
  if (!in.beacon_keys.empty()) step.attention.gated_keys = bytes_of(in.beacon_keys, {keys}, device);
  return step;
}

at::Tensor RecordedNetwork::embed(const RecordedRows& in, const Step& step) const {
  const int64_t batch = static_cast<int64_t>(in.ids.size()) / step.rows;
  const int64_t width = config_.hidden_size;
  at::Tensor x;
  if (base_.embed_matrix.defined()) {
    std::vector<int64_t> ids(in.ids.begin(), in.ids.end());
    for (int64_t& id : ids) id = table_row(id, config_.vocab_size);
    x = base_.embed_matrix.index_select(0, ops::index_on(context_.device, ids))
            .to(at::kFloat)
            .view({batch, step.rows, width});
  } else {
    x = at::empty({batch, step.rows, width}, at::kFloat);
    ops::embed(in.ids, base_.embed, parameters_.embed.detach(), x.view({-1, width}));
  }
  if (!step.beacon_rows.defined()) return x;
  const at::Tensor beacons = parameters_.embed.expand({batch, step.beacon_rows.numel(), width});
  return in.echoes ? x.index_add(1, step.beacon_rows, beacons) : x.index_copy(1, step.beacon_rows, beacons);
}

at::Tensor RecordedNetwork::project(const at::Tensor& x, const RecordedMatrix& base,
                                    const BeaconMatrix& beacon, const LoraMatrices& lora,
                                    const at::Tensor& beacon_rows) const {
  at::Tensor y = dense(x, base, context_);
  if (lora.a.defined()) y = y + low_rank(x, lora, parameters_.lora_scale, context_.compute);
  if (!beacon.weight.defined() || !beacon_rows.defined()) return y;
  const at::Tensor rows = x.index_select(1, beacon_rows).to(context_.compute);
  at::Tensor own = at::matmul(rows, beacon.weight.to(context_.compute).t());
  if (beacon.bias.defined()) own = own + beacon.bias.to(context_.compute);
  return y.index_copy(1, beacon_rows, own);
}

RecordedKv RecordedNetwork::keys_and_values(const Step& step, size_t index, const at::Tensor& normed) const {
  const RecordedLayer& w = base_.layers[index];
  const BeaconLayerParameters& own = parameters_.layers[index];
  const at::Tensor k = project(normed, w.k, own.k, own.lora_k, step.beacon_rows);
  const at::Tensor v = project(normed, w.v, own.v, own.lora_v, step.beacon_rows);
  return {with_replicas(k, step.replica_to, step.replica_from),
          with_replicas(v, step.replica_to, step.replica_from)};
}

// Of the rows from step.first on. `normed` holds all rows: a replica may repeat an earlier one.
at::Tensor RecordedNetwork::attention_block(const Step& step, size_t index, const at::Tensor& normed,
                                            const RecordedKv& kv, const RecordedKv& memory) const {
  const RecordedLayer& w = base_.layers[index];
  const BeaconLayerParameters& own = parameters_.layers[index];
  const int64_t batch = normed.size(0), rows = step.rows - step.first;
  at::Tensor q;
  if (step.replica_to.defined()) {
    q = with_replicas(project(normed, w.q, own.q, own.lora_q, step.beacon_rows), step.replica_to,
                      step.replica_from);
    q = q.narrow(1, step.first, rows);
  } else {
    q = project(normed.narrow(1, step.first, rows), w.q, own.q, own.lora_q, step.beacon_outputs);
  }
  const auto heads = [&](const at::Tensor& x) { return x.view({batch, x.size(1), -1, config_.head_dim}); };
  const at::Tensor k_all = heads(at::cat({memory.k_pre, kv.k_pre}, 1));
  const at::Tensor v_all = heads(at::cat({memory.v, kv.v}, 1));

  ops::AttentionOptions options = step.attention;
  options.gate = own.gate;
  if (!own.gate.defined()) options.gated_keys.reset();
  if (options.mask.defined()) options.mask = options.mask.narrow(-2, step.first, rows).contiguous();
  if (options.bias.defined()) options.bias = options.bias.narrow(-2, step.first, rows);
  const ops::RopeTable table = rows_of(step.table, step.rows, step.first, rows);
  const at::Tensor attended =
      recorded::attention(turned(heads(q.contiguous()), table, context_),
                          turned(k_all, step.key_table, context_), v_all, options, context_);
  return project(attended.reshape({batch, rows, -1}), w.o, own.o, own.lora_o, step.beacon_outputs);
}

at::Tensor RecordedNetwork::feed_forward_block(const Step& step, size_t index, const at::Tensor& x) const {
  const RecordedLayer& w = base_.layers[index];
  const BeaconLayerParameters& own = parameters_.layers[index];
  const at::Tensor normed = norm(x, w.post_norm, config_.rms_norm_eps, context_);
  const at::Tensor gate = dense(normed, w.gate, context_);
  const at::Tensor up = project(normed, w.up, own.up, {}, step.beacon_outputs);
  return project(recorded::swiglu(gate, up, context_), w.down, own.down, {}, step.beacon_outputs);
}

RecordedOutput RecordedNetwork::forward(const RecordedRows& in, std::span<const RecordedKv> memory) const {
  BEACON_CHECK(memory.size() == base_.layers.size());
  const int64_t batch = memory.front().k_pre.size(0);
  const int64_t keys = memory.front().k_pre.size(1) + static_cast<int64_t>(in.ids.size()) / batch;
  Step step = make_step(in, batch, keys);
  const int64_t wanted = step.first;
  const at::Tensor all_beacon_outputs = step.beacon_rows, last_beacon_outputs = step.beacon_outputs;
  RecordedOutput out;
  at::Tensor x = embed(in, step);
  for (size_t l = 0; l < base_.layers.size(); ++l) {
    const bool last = l + 1 == base_.layers.size();
    step.first = last ? wanted : 0;
    step.beacon_outputs = last ? last_beacon_outputs : all_beacon_outputs;
    const at::Tensor normed = norm(x, base_.layers[l].input_norm, config_.rms_norm_eps, context_);
    out.layers.push_back(keys_and_values(step, l, normed));
    if (step.first == step.rows) return out;  // nobody wants hidden states
    x = x.narrow(1, step.first, step.rows - step.first) +
        attention_block(step, l, normed, out.layers.back(), memory[l]);
    x = x + feed_forward_block(step, l, x);
  }
  const at::Tensor rows = from_row(in.hidden_rows, wanted, context_.device);
  if (rows.numel() < x.size(1)) x = x.index_select(1, rows);
  out.hidden = norm(x, base_.norm, config_.rms_norm_eps, context_);
  return out;
}

}  // namespace beacon
