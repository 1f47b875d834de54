#include "model/transformer.h"

#include <ATen/Functions.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>
#include <utility>

#include "base/check.h"
#include "ops/attention_torch.h"
#include "ops/device.h"
#include "ops/embedding.h"
#include "ops/key_rows.h"
#include "ops/norm.h"
#include "ops/swiglu.h"

namespace beacon {

// What is the same for all layers of one forward: of one sequence.
struct Transformer::Part {
  KvMemory* memory = nullptr;
  int64_t first = 0;  // its first row among those of all sequences
  int64_t batch = 1;
  int64_t rows = 0;          // T, or the last few of them
  ops::RopeTable table;      // of these rows
  ops::RopeTable key_table;  // of all S keys, when they are rotated on reading
  at::Tensor mask;           // as of AttentionOptions; undefined: causal
  at::Tensor bias;           // what a GPU makes of it once for all layers; undefined: nothing
  int64_t seen_keys = 0;     // as of AttentionOptions
  at::Tensor beacon_keys;    // u8 [S]; undefined: none

  at::Tensor of(const at::Tensor& matrix) const { return matrix.narrow(0, first, batch * rows); }
};

// And of all of them.
struct Transformer::Step {
  c10::SmallVector<Part, 1> parts;
  int64_t rows = 0;                     // of all parts and their batches
  at::ScalarType type = at::kFloat;     // of activations beside the residual
  at::Tensor beacon_index;              // i64 rows with beacon projections; undefined: none
  at::Tensor replica_to, replica_from;  // i64 rows; undefined: none

  void add(Part part) {
    part.first = rows;
    rows += part.batch * part.rows;
    parts.push_back(std::move(part));
  }
};

namespace {

// Few rows are bound by the reading of weights; many by products, which want their inputs rounded once. A GPU
// has no other products for few rows.
at::ScalarType activation_type(int64_t rows, const ops::LinearContext& context, at::Device device) {
  return rows > ops::kFewRows || !device.is_cpu() ? context.compute : at::kFloat;
}

at::Tensor bytes_view(std::span<const uint8_t> bytes, int64_t rows, int64_t cols) {
  return at::from_blob(const_cast<uint8_t*>(bytes.data()), {rows, cols}, at::kByte);
}

at::Tensor index_tensor(const std::vector<int64_t>& index, at::Device device) {
  return index.empty() ? at::Tensor() : ops::index_on(device, index);
}

// Adds the rows that use the beacon projections, of the last `rows` of T, to `index`; the sequence's rows
// begin at `first`.
void add_beacon_rows(const ForwardRows& in, int64_t first, int64_t batch, int64_t rows,
                     std::vector<int64_t>& index) {
  const int64_t skipped = static_cast<int64_t>(in.positions.size()) - rows;
  for (int64_t b = 0; b < batch; ++b) {
    for (const int32_t r : in.beacon_rows) {
      if (r >= skipped) index.push_back(first + b * rows + r - skipped);
    }
  }
}

void add_replicas(const ForwardRows& in, int64_t first, int64_t batch, std::vector<int64_t>& to,
                  std::vector<int64_t>& from) {
  const auto rows = static_cast<int64_t>(in.copy_from.size());
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t r = 0; r < rows; ++r) {
      const int32_t source = in.copy_from[static_cast<size_t>(r)];
      if (source < 0) continue;
      to.push_back(first + b * rows + r);
      from.push_back(first + b * rows + source);
    }
  }
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

// How many of the first keys all rows of a mask [T, S] see: those of the memory, mostly, which are many.
int64_t seen_by_all(const at::Tensor& mask) {
  int64_t seen = mask.size(1);
  const auto* first = mask.const_data_ptr<uint8_t>();
  for (int64_t r = 0; r < mask.size(0); ++r) {
    const uint8_t* row = first + r * mask.stride(0);
    const void* hidden = std::memchr(row, 0, static_cast<size_t>(seen));
    if (hidden != nullptr) seen = static_cast<const uint8_t*>(hidden) - row;
  }
  return seen;
}

// body(i) for each of n sequences of so many rows together. Many sequences of few rows go side by side: what
// each of them costs is less arithmetic than the making of tensors.
template <typename Body>
void each_sequence(int64_t n, int64_t rows, at::Device device, const Body& body) {
  constexpr int64_t kMany = 4;
  if (n < kMany || rows > n * ops::kFewQueries || !device.is_cpu()) {
    for (int64_t i = 0; i < n; ++i) body(static_cast<size_t>(i));
    return;
  }
  const bool inference = c10::InferenceMode::is_enabled();  // each thread has its own
  ops::parallel_each(n, [&](int64_t i) {
    std::optional<c10::InferenceMode> same;
    if (inference) same.emplace();
    body(static_cast<size_t>(i));
  });
}

}  // namespace

// The rows of `wanted` out of a matrix [R, cols] of all rows.
at::Tensor Transformer::rows_of(const at::Tensor& matrix, const Step& all, const Step& wanted) {
  if (wanted.rows == all.rows) return matrix;
  c10::SmallVector<at::Tensor, 1> pieces;
  for (size_t i = 0; i < all.parts.size(); ++i) {
    const Part &part = all.parts[i], &last = wanted.parts[i];
    pieces.push_back(part.of(matrix)
                         .view({part.batch, part.rows, matrix.size(1)})
                         .narrow(1, part.rows - last.rows, last.rows)
                         .reshape({-1, matrix.size(1)}));
  }
  return pieces.size() == 1 ? pieces[0] : at::cat(pieces);
}

// Replicas take the q, k or v of the beacon they stand for.
void Transformer::repeat_rows(const Step& step, const at::Tensor& matrix) {
  if (!step.replica_to.defined()) return;
  at::Tensor target = matrix;
  target.index_copy_(0, step.replica_to, matrix.index_select(0, step.replica_from));
}

Transformer::Transformer(const ModelConfig& config, ModelWeights weights, ops::Rope rope)
    : config_(config),
      weights_(std::move(weights)),
      rope_(std::move(rope)),
      device_(weights_.norm.device()) {}

Transformer::Part Transformer::all_rows(const SequenceRows& sequence,
                                        const ops::LinearContext& context) const {
  const ForwardRows& in = sequence.rows;
  KvMemory& memory = *sequence.memory;
  Part part;
  part.memory = &memory;
  part.batch = memory.geometry().batch;
  part.rows = static_cast<int64_t>(in.positions.size());
  BEACON_CHECK(static_cast<int64_t>(in.ids.size()) == part.batch * part.rows && in.hidden_rows <= part.rows);
  const int64_t keys = memory.counts().total() + part.rows;
  memory.reserve(part.rows);
  memory.set_longest(keys);
  memory.set_longest(*std::max_element(in.positions.begin(), in.positions.end()) + 1);
  part.table = rope_.table(in.positions, memory.longest()).on(device_);
  if (rope_.follows_length())
    part.key_table = rope_.table(key_positions(in, keys), memory.longest()).on(device_);
  if (!in.mask.empty()) part.mask = bytes_view(in.mask, part.rows, keys);
  if (config_.sliding_window && keys > *config_.sliding_window) {
    part.mask = sliding_mask(part.mask, part.rows, keys, *config_.sliding_window);
  }
  if (part.mask.defined()) part.seen_keys = std::min(seen_by_all(part.mask), keys - part.rows);
  if (part.mask.defined() && !device_.is_cpu()) {
    part.mask = ops::send(part.mask.narrow(1, part.seen_keys, keys - part.seen_keys).contiguous(), device_);
    const bool rounded = context.compute == at::kBFloat16 && memory.geometry().type == at::kBFloat16;
    // What the masked kernel of a GPU adds; nobody else asks for it.
    if (device_.is_cuda() && rounded && part.rows > ops::kFewQueries && in.beacon_keys.empty())
      part.bias = ops::mask_bias(part.mask, context.compute, config_.num_key_value_heads);
  }
  if (!in.beacon_keys.empty())
    part.beacon_keys = ops::send(bytes_view(in.beacon_keys, 1, keys).view({keys}), device_);
  return part;
}

Transformer::Step Transformer::all_rows(std::span<const SequenceRows> sequences,
                                        const ops::LinearContext& context) const {
  Step step;
  std::vector<int64_t> beacons, replica_to, replica_from;
  for (const SequenceRows& sequence : sequences) {
    step.add(all_rows(sequence, context));
    const Part& part = step.parts.back();
    add_beacon_rows(sequence.rows, part.first, part.batch, part.rows, beacons);
    add_replicas(sequence.rows, part.first, part.batch, replica_to, replica_from);
  }
  step.type = activation_type(step.rows, context, device_);
  step.beacon_index = index_tensor(beacons, device_);
  step.replica_to = index_tensor(replica_to, device_);
  step.replica_from = index_tensor(replica_from, device_);
  return step;
}

// Without replicas: their hidden states are never used, and their keys and values were copied already.
Transformer::Step Transformer::last_rows(const Step& all, std::span<const SequenceRows> sequences,
                                         const ops::LinearContext& context) const {
  Step step;
  std::vector<int64_t> beacons;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const ForwardRows& in = sequences[i].rows;
    Part part = all.parts[i];
    const int64_t first = part.rows - in.hidden_rows;
    part.rows = in.hidden_rows;
    part.table = {part.table.cos.narrow(0, first, part.rows), part.table.sin.narrow(0, first, part.rows)};
    if (part.mask.defined()) part.mask = part.mask.narrow(0, first, part.rows);
    if (part.bias.defined()) part.bias = part.bias.narrow(0, first, part.rows);
    step.add(std::move(part));
    add_beacon_rows(in, step.parts.back().first, step.parts.back().batch, in.hidden_rows, beacons);
  }
  step.type = activation_type(step.rows, context, device_);
  step.beacon_index = index_tensor(beacons, device_);
  return step;
}

at::Tensor Transformer::forward(const ForwardRows& in, KvMemory& memory, TransformerScratch& scratch) const {
  const SequenceRows one{in, &memory};
  return forward({&one, 1}, scratch)[0];
}

void Transformer::embed(std::span<const SequenceRows> sequences, const Step& all, const at::Tensor& x) const {
  for (size_t i = 0; i < sequences.size(); ++i) {
    const ForwardRows& rows = sequences[i].rows;
    const at::Tensor own = all.parts[i].of(x);
    ops::embed(rows.ids, weights_.embed, rows.echoes ? at::Tensor() : weights_.beacon_embed, own);
    if (!rows.echoes) continue;
    const auto count = static_cast<int64_t>(rows.positions.size());
    for (int64_t begin = 0; begin < own.size(0); begin += count)
      ops::add_to_rows(own.narrow(0, begin, count), rows.beacon_rows, weights_.echo_embed);
  }
}

std::vector<at::Tensor> Transformer::forward(std::span<const SequenceRows> sequences,
                                             TransformerScratch& scratch) const {
  const Step all = all_rows(sequences, scratch.linear);
  at::Tensor x = scratch.residual.matrix(all.rows, config_.hidden_size, at::kFloat, device_);
  embed(sequences, all, x);
  at::Tensor normed = scratch.normed.matrix(x.size(0), config_.hidden_size, all.type, device_);
  ops::rms_norm(x, weights_.layers[0].input_norm, config_.rms_norm_eps, normed);
  const auto last = static_cast<size_t>(config_.num_hidden_layers - 1);
  for (size_t l = 0; l < last; ++l) {
    const at::Tensor attended = attention_block(all, all, l, normed, scratch);
    ops::add_rms_norm(attended, x, weights_.layers[l].post_norm, config_.rms_norm_eps, normed);
    const at::Tensor fed = feed_forward_block(all, l, normed, scratch);
    ops::add_rms_norm(fed, x, weights_.layers[l + 1].input_norm, config_.rms_norm_eps, normed);
  }

  // Of the last layer every row's key and value is needed, but hidden states only of the rows asked for.
  const Step wanted = last_rows(all, sequences, scratch.linear);
  const at::Tensor attended = attention_block(all, wanted, last, normed, scratch);
  for (const Part& part : all.parts) part.memory->finish(part.rows);
  x = rows_of(x, all, wanted);
  if (wanted.rows > 0) {
    normed = scratch.normed.matrix(x.size(0), config_.hidden_size, wanted.type, device_);
    ops::add_rms_norm(attended, x, weights_.layers[last].post_norm, config_.rms_norm_eps, normed);
    x.add_(feed_forward_block(wanted, last, normed, scratch));
  }
  const at::Tensor out =
      at::empty({wanted.rows, config_.hidden_size}, at::TensorOptions(device_).dtype(at::kFloat));
  ops::rms_norm(x, weights_.norm, config_.rms_norm_eps, out);
  std::vector<at::Tensor> hidden;
  for (const Part& part : wanted.parts)
    hidden.push_back(part.of(out).view({part.batch, part.rows, config_.hidden_size}));
  return hidden;
}

at::Tensor Transformer::logits(const at::Tensor& hidden, TransformerScratch& scratch) const {
  at::Tensor out =
      at::empty({hidden.size(0), weights_.lm_head.out}, at::TensorOptions(device_).dtype(at::kFloat));
  ops::linear(hidden.to(device_), weights_.lm_head, out, scratch.linear);
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
      gathered = scratch.gathered.matrix(rows, x.size(1), x.scalar_type(), device_);
      at::index_select_out(gathered, x, 0, step.beacon_index);
    }
    at::Tensor projected = scratch.projected.matrix(rows, each.y.size(1), each.y.scalar_type(), device_);
    ops::linear(gathered, each.beacon, projected, scratch.linear);
    at::Tensor target = each.y;
    target.index_copy_(0, step.beacon_index, projected);
  }
}

ops::AttentionCall Transformer::attention_call(const Part& all, const Part& wanted, size_t index,
                                               const at::Tensor& q, const at::Tensor& turned,
                                               const at::Tensor& out) const {
  const std::vector<int64_t> heads = {wanted.batch * wanted.rows, config_.num_attention_heads,
                                      config_.head_dim};
  ops::apply_rope(wanted.of(q).view(heads), wanted.table, wanted.of(turned).view(heads));
  const std::vector<int64_t> sizes = {wanted.batch, wanted.rows, q.size(1)};
  const auto layer = static_cast<int64_t>(index);
  const at::Tensor& gate = weights_.layers[index].beacon.gate;
  ops::AttentionCall call;
  call.q = wanted.of(turned).view(sizes);
  call.k = visible_keys(all, layer);
  call.v = all.memory->values(layer, all.rows);
  if (call.v.scalar_type() != call.k.scalar_type()) call.v = ops::float_rows(call.v);
  call.out = wanted.of(out).view(sizes);
  call.options.scale = 1.0 / std::sqrt(static_cast<double>(config_.head_dim));
  call.options.mask = wanted.mask;
  call.options.bias = wanted.bias;
  call.options.seen_keys = wanted.seen_keys;
  if (gate.defined() && wanted.beacon_keys.defined()) {
    call.options.gate = gate;
    call.options.gated_keys = wanted.beacon_keys;
  }
  return call;
}

at::Tensor Transformer::attend(const Step& all, const Step& wanted, size_t index, const NewRows& rows,
                               TransformerScratch& scratch) const {
  // Queries go to bf16 when they are many and the keys are.
  const auto key_type = rope_.follows_length() ? at::kFloat : all.parts[0].memory->geometry().type;
  const bool many = std::all_of(wanted.parts.begin(), wanted.parts.end(),
                                [](const Part& part) { return part.rows > ops::kFewQueries; });
  // A GPU's do at any number: it would convert all keys otherwise.
  const auto type = (many || !device_.is_cpu()) && key_type != at::kFloat ? wanted.type : at::kFloat;
  const at::Tensor& q = rows.q;
  const at::Tensor turned =
      type == wanted.type ? q : scratch.turned.matrix(q.size(0), q.size(1), type, device_);
  const at::Tensor attended = scratch.attended.matrix(q.size(0), q.size(1), type, device_);
  c10::SmallVector<ops::AttentionCall, 1> calls(all.parts.size());
  each_sequence(static_cast<int64_t>(all.parts.size()), all.rows, device_, [&](size_t i) {
    const Part &part = all.parts[i], &last = wanted.parts[i];
    part.memory->write(static_cast<int64_t>(index), part.of(rows.k), part.of(rows.v), part.table);
    if (last.rows > 0) calls[i] = attention_call(part, last, index, q, turned, attended);
  });
  calls.erase(std::remove_if(calls.begin(), calls.end(), [](const auto& call) { return !call.q.defined(); }),
              calls.end());
  ops::attention_group({calls.data(), calls.size()}, scratch.attention);
  return attended;
}

at::Tensor Transformer::attention_block(const Step& all, const Step& wanted, size_t index,
                                        const at::Tensor& normed, TransformerScratch& scratch) const {
  const LayerWeights& w = weights_.layers[index];
  NewRows rows;
  rows.k = scratch.k.matrix(normed.size(0), w.k.out, all.type, device_);
  rows.v = scratch.v.matrix(normed.size(0), w.v.out, all.type, device_);
  rows.q = scratch.q.matrix(wanted.rows, w.q.out, wanted.type, device_);
  const Projection to_k{w.k, w.beacon.k, rows.k}, to_v{w.v, w.beacon.v, rows.v},
      to_q{w.q, w.beacon.q, rows.q};
  // The wanted rows' queries in the same go, where they are all rows.
  if (wanted.rows == all.rows) {
    project(all, normed, {to_q, to_k, to_v}, scratch);
  } else {
    project(all, normed, {to_k, to_v}, scratch);
    if (wanted.rows > 0) project(wanted, rows_of(normed, all, wanted), {to_q}, scratch);
  }
  repeat_rows(all, rows.k);
  repeat_rows(all, rows.v);
  repeat_rows(wanted, rows.q);
  const at::Tensor attended = attend(all, wanted, index, rows, scratch);
  if (wanted.rows == 0) return {};
  const at::Tensor branch = scratch.branch.matrix(wanted.rows, config_.hidden_size, wanted.type, device_);
  project(wanted, attended, {{w.o, w.beacon.o, branch}}, scratch);
  return branch;
}

at::Tensor Transformer::visible_keys(const Part& part, int64_t layer) const {
  const at::Tensor keys = part.memory->keys(layer, part.rows);
  if (!rope_.follows_length()) return keys;
  // They were kept before rotation: turn all of them by today's frequencies.
  const at::Tensor turned = ops::float_rows(keys);
  const at::Tensor rows = turned.view({-1, 1, config_.head_dim});
  ops::apply_rope(rows, part.key_table, rows);
  return turned;
}

at::Tensor Transformer::feed_forward_block(const Step& step, size_t index, const at::Tensor& normed,
                                           TransformerScratch& scratch) const {
  const LayerWeights& w = weights_.layers[index];
  const int64_t rows = normed.size(0);
  const at::Tensor gate = scratch.gate.matrix(rows, w.gate.out, step.type, device_);
  const at::Tensor up = scratch.up.matrix(rows, w.up.out, step.type, device_);
  project(step, normed, {{w.gate, {}, gate}, {w.up, w.beacon.up, up}}, scratch);
  ops::swiglu(gate, up, gate);
  const at::Tensor branch = scratch.branch.matrix(rows, config_.hidden_size, step.type, device_);
  project(step, gate, {{w.down, w.beacon.down, branch}}, scratch);
  return branch;
}

}  // namespace beacon
