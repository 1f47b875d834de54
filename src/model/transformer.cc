#include "model/transformer.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "ops/embedding.h"
#include "ops/norm.h"
#include "ops/swiglu.h"

namespace beacon {

// What is the same for all layers of one forward.
struct Transformer::Step {
  int64_t batch = 1;
  int64_t rows = 0;                     // T, or the last few of them
  at::ScalarType type = at::kFloat;     // of activations beside the residual
  ops::RopeTable table;                 // of these rows
  ops::RopeTable key_table;             // of all S keys, when they are rotated on reading
  at::Tensor beacon_index;              // i64 rows of [B * rows] with beacon projections; undefined: none
  at::Tensor replica_to, replica_from;  // i64 rows of [B * rows]; undefined: none
  at::Tensor mask;                      // u8 [rows, S]; undefined: causal
  at::Tensor beacon_keys;               // u8 [S]; undefined: none
};

namespace {

// Few rows are bound by the reading of weights; many by products, which want their inputs rounded once.
at::ScalarType activation_type(int64_t rows, const ops::LinearContext& context) {
  return rows > ops::kFewRows ? context.compute : at::kFloat;
}

at::Tensor bytes_view(std::span<const uint8_t> bytes, int64_t rows, int64_t cols) {
  return at::from_blob(const_cast<uint8_t*>(bytes.data()), {rows, cols}, at::kByte);
}

// The rows of a step that use the beacon projections, as indexes into [B * rows] of the last `rows` of T.
at::Tensor beacon_index(std::span<const int32_t> beacon_rows, int64_t batch, int64_t new_rows, int64_t rows) {
  std::vector<int64_t> index;
  const int64_t skipped = new_rows - rows;
  for (int64_t b = 0; b < batch; ++b) {
    for (const int32_t r : beacon_rows) {
      if (r >= skipped) index.push_back(b * rows + r - skipped);
    }
  }
  if (index.empty()) return {};
  return at::tensor(index, at::kLong);
}

// Positions of all S keys: their index, unless a plan placed them elsewhere.
std::vector<int32_t> key_positions(const ForwardRows& in, int64_t keys) {
  std::vector<int32_t> positions(static_cast<size_t>(keys));
  std::iota(positions.begin(), positions.end(), 0);
  auto behind = positions.end() - static_cast<int64_t>(in.positions.size());
  std::copy(in.positions.begin(), in.positions.end(), behind);
  std::copy(in.open_positions.begin(), in.open_positions.end(),
            behind - static_cast<int64_t>(in.open_positions.size()));
  return positions;
}

// Sliding-window attention: the oldest keys drop out of sight. `mask` is what holds without it, or undefined.
at::Tensor sliding_mask(const at::Tensor& mask, int64_t rows, int64_t keys, int64_t window) {
  at::Tensor visible = mask.defined() ? mask.clone() : at::ones({rows, keys}, at::kByte).tril(keys - rows);
  return visible.triu_(keys - rows - window + 1);
}

void set_replicas(std::span<const int32_t> copy_from, int64_t batch, at::Tensor& to, at::Tensor& from) {
  std::vector<int64_t> targets, sources;
  const auto rows = static_cast<int64_t>(copy_from.size());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t source = copy_from[static_cast<size_t>(r)];
      if (source < 0) continue;
      targets.push_back(b * rows + r);
      sources.push_back(b * rows + source);
    }
  }
  to = at::tensor(targets, at::kLong);
  from = at::tensor(sources, at::kLong);
}

}  // namespace

// The rows of `wanted` out of a matrix [B * T, cols] of all rows.
at::Tensor Transformer::rows_of(const at::Tensor& matrix, const Step& all, const Step& wanted) {
  if (wanted.rows == all.rows) return matrix;
  return matrix.view({all.batch, all.rows, matrix.size(1)})
      .narrow(1, all.rows - wanted.rows, wanted.rows)
      .reshape({-1, matrix.size(1)});
}

// Replicas take the q, k or v of the beacon they stand for.
void Transformer::repeat_rows(const Step& step, const at::Tensor& matrix) {
  if (!step.replica_to.defined()) return;
  at::Tensor target = matrix;
  target.index_copy_(0, step.replica_to, matrix.index_select(0, step.replica_from));
}

Transformer::Transformer(const ModelConfig& config, ModelWeights weights, ops::Rope rope)
    : config_(config), weights_(std::move(weights)), rope_(std::move(rope)) {}

Transformer::Step Transformer::all_rows(const ForwardRows& in, const KvMemory& memory,
                                        const ops::LinearContext& context) const {
  Step step;
  step.batch = memory.geometry().batch;
  step.rows = static_cast<int64_t>(in.positions.size());
  step.type = activation_type(step.batch * step.rows, context);
  const int64_t keys = memory.counts().total() + step.rows;
  step.table = rope_.table(in.positions, memory.longest());
  if (rope_.follows_length()) step.key_table = rope_.table(key_positions(in, keys), memory.longest());
  step.beacon_index = beacon_index(in.beacon_rows, step.batch, step.rows, step.rows);
  if (!in.mask.empty()) step.mask = bytes_view(in.mask, step.rows, keys);
  if (config_.sliding_window && keys > *config_.sliding_window) {
    step.mask = sliding_mask(step.mask, step.rows, keys, *config_.sliding_window);
  }
  if (!in.beacon_keys.empty()) step.beacon_keys = bytes_view(in.beacon_keys, 1, keys).view({keys});
  if (!in.copy_from.empty()) set_replicas(in.copy_from, step.batch, step.replica_to, step.replica_from);
  return step;
}

Transformer::Step Transformer::last_rows(const Step& all, const ForwardRows& in,
                                         const ops::LinearContext& context) const {
  Step step = all;
  step.rows = in.hidden_rows;
  step.type = activation_type(step.batch * step.rows, context);
  const int64_t first = all.rows - step.rows;
  step.table = {all.table.cos.narrow(0, first, step.rows), all.table.sin.narrow(0, first, step.rows)};
  if (all.mask.defined()) step.mask = all.mask.narrow(0, first, step.rows);
  step.beacon_index = beacon_index(in.beacon_rows, step.batch, all.rows, step.rows);
  // A replica's hidden state is never used, and its key and value were copied already.
  step.replica_to = step.replica_from = at::Tensor();
  return step;
}

at::Tensor Transformer::forward(const ForwardRows& in, KvMemory& memory, TransformerScratch& scratch) const {
  const auto new_rows = static_cast<int64_t>(in.positions.size());
  BEACON_CHECK(static_cast<int64_t>(in.ids.size()) == memory.geometry().batch * new_rows &&
               in.hidden_rows <= new_rows);
  memory.reserve(new_rows);
  memory.set_longest(memory.counts().total() + new_rows);
  memory.set_longest(*std::max_element(in.positions.begin(), in.positions.end()) + 1);
  const Step all = all_rows(in, memory, scratch.linear);

  at::Tensor x = scratch.residual.matrix(all.batch * new_rows, config_.hidden_size, at::kFloat);
  ops::embed(in.ids, weights_.embed, weights_.beacon_embed, x);
  at::Tensor normed = scratch.normed.matrix(x.size(0), config_.hidden_size, all.type);
  ops::rms_norm(x, weights_.layers[0].input_norm, config_.rms_norm_eps, normed);
  const auto last = static_cast<size_t>(config_.num_hidden_layers - 1);
  for (size_t l = 0; l < last; ++l) {
    const at::Tensor attended = attention_block(all, all, l, normed, memory, scratch);
    ops::add_rms_norm(attended, x, weights_.layers[l].post_norm, config_.rms_norm_eps, normed);
    const at::Tensor fed = feed_forward_block(all, l, normed, scratch);
    ops::add_rms_norm(fed, x, weights_.layers[l + 1].input_norm, config_.rms_norm_eps, normed);
  }

  // Of the last layer every row's key and value is needed, but hidden states only of the rows asked for.
  const Step wanted = last_rows(all, in, scratch.linear);
  const at::Tensor attended = attention_block(all, wanted, last, normed, memory, scratch);
  memory.finish(new_rows);
  x = rows_of(x, all, wanted);
  if (wanted.rows > 0) {
    normed = scratch.normed.matrix(x.size(0), config_.hidden_size, wanted.type);
    ops::add_rms_norm(attended, x, weights_.layers[last].post_norm, config_.rms_norm_eps, normed);
    x.add_(feed_forward_block(wanted, last, normed, scratch));
  }
  at::Tensor out = at::empty({wanted.batch, wanted.rows, config_.hidden_size}, at::kFloat);
  ops::rms_norm(x, weights_.norm, config_.rms_norm_eps, out.view({-1, config_.hidden_size}));
  return out;
}

at::Tensor Transformer::logits(const at::Tensor& hidden, TransformerScratch& scratch) const {
  at::Tensor out = at::empty({hidden.size(0), weights_.lm_head.out}, at::kFloat);
  ops::linear(hidden, weights_.lm_head, out, scratch.linear);
  return out;
}

void Transformer::project(const Step& step, const at::Tensor& x,
                          std::initializer_list<Projection> projections, TransformerScratch& scratch) const {
  c10::SmallVector<ops::LinearTarget, 3> targets;
  for (const Projection& each : projections) targets.push_back({&each.base, each.y});
  ops::linear_group(x, {targets.data(), targets.size()}, scratch.linear);
  if (!step.beacon_index.defined()) return;
  const int64_t rows = step.beacon_index.numel();
  at::Tensor gathered;
  for (const Projection& each : projections) {
    if (!each.beacon.defined()) continue;
    if (!gathered.defined()) {
      gathered = scratch.gathered.matrix(rows, x.size(1), x.scalar_type());
      at::index_select_out(gathered, x, 0, step.beacon_index);
    }
    at::Tensor projected = scratch.projected.matrix(rows, each.y.size(1), each.y.scalar_type());
    ops::linear(gathered, each.beacon, projected, scratch.linear);
    at::Tensor target = each.y;
    target.index_copy_(0, step.beacon_index, projected);
  }
}

// Queries [rows, N * H] after RoPE as [B, rows, N * H]: in bf16 when they are many and the keys are.
at::Tensor Transformer::turn_queries(const Step& wanted, const at::Tensor& q, at::ScalarType key_type,
                                     TransformerScratch& scratch) const {
  const bool narrow = key_type == wanted.type && wanted.rows > ops::kFewQueries;
  const auto type = narrow ? key_type : at::kFloat;
  const at::Tensor turned = type == wanted.type ? q : scratch.turned.matrix(q.size(0), q.size(1), type);
  const std::vector<int64_t> heads = {q.size(0), config_.num_attention_heads, config_.head_dim};
  ops::apply_rope(q.view(heads), wanted.table, turned.view(heads));
  return turned.view({wanted.batch, wanted.rows, q.size(1)});
}

at::Tensor Transformer::attention_block(const Step& all, const Step& wanted, size_t index,
                                        const at::Tensor& normed, KvMemory& memory,
                                        TransformerScratch& scratch) const {
  const LayerWeights& w = weights_.layers[index];
  const auto layer = static_cast<int64_t>(index);
  const at::Tensor k = scratch.k.matrix(normed.size(0), w.k.out, all.type);
  const at::Tensor v = scratch.v.matrix(normed.size(0), w.v.out, all.type);
  const Projection to_k{w.k, w.beacon.k, k}, to_v{w.v, w.beacon.v, v};
  // The wanted rows' queries in the same go, where they are all rows.
  const at::Tensor q = scratch.q.matrix(wanted.batch * wanted.rows, w.q.out, wanted.type);
  const Projection to_q{w.q, w.beacon.q, q};
  const bool together = wanted.rows == all.rows;
  if (together) {
    project(all, normed, {to_q, to_k, to_v}, scratch);
  } else {
    project(all, normed, {to_k, to_v}, scratch);
  }
  repeat_rows(all, k);
  repeat_rows(all, v);
  memory.write(layer, k, v, all.table);
  if (wanted.rows == 0) return {};

  const at::Tensor keys = visible_keys(all, layer, memory);
  at::Tensor values = memory.values(layer, all.rows);
  if (values.scalar_type() != keys.scalar_type()) values = values.to(keys.scalar_type());
  if (!together) project(wanted, rows_of(normed, all, wanted), {to_q}, scratch);
  repeat_rows(wanted, q);
  const at::Tensor turned = turn_queries(wanted, q, keys.scalar_type(), scratch);
  ops::AttentionOptions options;
  options.scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
  options.mask = wanted.mask;
  if (w.beacon.gate.defined() && all.beacon_keys.defined()) {
    options.gate = w.beacon.gate;
    options.gated_keys = all.beacon_keys;
  }
  const int64_t rows = wanted.batch * wanted.rows;
  const at::Tensor attended = scratch.attended.matrix(rows, w.q.out, turned.scalar_type());
  ops::attention(turned, keys, values, options, attended.view(turned.sizes()), scratch.attention);

  const at::Tensor branch = scratch.branch.matrix(rows, config_.hidden_size, wanted.type);
  project(wanted, attended, {{w.o, w.beacon.o, branch}}, scratch);
  return branch;
}

at::Tensor Transformer::visible_keys(const Step& step, int64_t layer, const KvMemory& memory) const {
  const at::Tensor keys = memory.keys(layer, step.rows);
  if (!rope_.follows_length()) return keys;
  // They were kept before rotation: turn all of them by today's frequencies.
  const at::Tensor turned =
      keys.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true, at::MemoryFormat::Contiguous);
  const at::Tensor rows = turned.view({-1, 1, config_.head_dim});
  ops::apply_rope(rows, step.key_table, rows);
  return turned;
}

at::Tensor Transformer::feed_forward_block(const Step& step, size_t index, const at::Tensor& normed,
                                           TransformerScratch& scratch) const {
  const LayerWeights& w = weights_.layers[index];
  const int64_t rows = normed.size(0);
  const at::Tensor gate = scratch.gate.matrix(rows, w.gate.out, step.type);
  const at::Tensor up = scratch.up.matrix(rows, w.up.out, step.type);
  project(step, normed, {{w.gate, {}, gate}, {w.up, w.beacon.up, up}}, scratch);
  ops::swiglu(gate, up, gate);
  const at::Tensor branch = scratch.branch.matrix(rows, config_.hidden_size, step.type);
  project(step, gate, {{w.down, w.beacon.down, branch}}, scratch);
  return branch;
}

}  // namespace beacon
