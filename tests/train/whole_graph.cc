#include "train/whole_graph.h"

#include <fmt/format.h>

#include "window/labels.h"
#include "window/planner.h"

namespace beacon::testing {
namespace {

// Some memory rows: of every layer keys before RoPE and values [B, rows, K * H].
struct Part {
  std::vector<at::Tensor> k, v;
  std::vector<int64_t> born;    // the step of each row
  std::vector<uint8_t> beacon;  // 1 = the gate applies

  int64_t rows() const { return static_cast<int64_t>(born.size()); }
};

Part join(const Part& a, const Part& b) {
  Part out;
  for (size_t l = 0; l < a.k.size(); ++l) {
    out.k.push_back(at::cat({a.k[l], b.k[l]}, 1));
    out.v.push_back(at::cat({a.v[l], b.v[l]}, 1));
  }
  out.born = a.born;
  out.born.insert(out.born.end(), b.born.begin(), b.born.end());
  out.beacon = a.beacon;
  out.beacon.insert(out.beacon.end(), b.beacon.begin(), b.beacon.end());
  return out;
}

Part pick(const Part& from, const std::vector<int32_t>& rows) {
  const at::Tensor index = at::tensor(std::vector<int64_t>(rows.begin(), rows.end()), at::kLong);
  Part out;
  for (size_t l = 0; l < from.k.size(); ++l) {
    out.k.push_back(from.k[l].index_select(1, index));
    out.v.push_back(from.v[l].index_select(1, index));
  }
  for (const int32_t r : rows) {
    out.born.push_back(from.born[static_cast<size_t>(r)]);
    out.beacon.push_back(from.beacon[static_cast<size_t>(r)]);
  }
  return out;
}

class WholeGraph {
 public:
  WholeGraph(const ModelConfig& config, const ModelWeights& weights, const BeaconParameters& parameters,
             int64_t truncate_steps)
      : config_(config), weights_(weights), truncate_(truncate_steps) {
    lora_scale_ = parameters.lora_scale;
    for (const NamedParameter& p : parameters.named()) {
      leaves_[p.name] = p.tensor.detach().to(at::kDouble).clone().set_requires_grad(true);
    }
  }

  WholeGraphResult run(const WindowOptions& options, const std::vector<int32_t>& ids, int64_t batch) {
    const auto count = static_cast<int64_t>(ids.size()) / batch;
    const at::Tensor tokens =
        at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).view({batch, count});
    labels_ = tokens.roll(-1, 1);
    echoes_ = is_echo(options.attention);
    const auto counts = scored(options, count);
    scored_ = at::tensor(std::vector<int64_t>(counts.begin(), counts.end()), at::kLong).to(at::kDouble);
    sink_ = beacons_ = open_ = nothing(batch);
    Planner planner(options);
    planner.feed(count);
    at::Tensor loss = at::zeros({}, at::kDouble);
    const std::vector<float> worth = worth_of(ids);
    while (const auto step = planner.next({0, worth})) loss = loss + run_step(*step, tokens);
    if (loss.requires_grad()) loss.backward();
    WholeGraphResult result;
    result.loss = loss.item<double>();
    for (const auto& [name, leaf] : leaves_) {
      result.gradients[name] = leaf.grad().defined() ? leaf.grad() : at::zeros_like(leaf);
    }
    return result;
  }

 private:
  Part nothing(int64_t batch) const {
    const at::Tensor none =
        at::zeros({batch, 0, config_.num_key_value_heads * config_.head_dim}, at::kDouble);
    const std::vector<at::Tensor> all(static_cast<size_t>(config_.num_hidden_layers), none);
    return {all, all, {}, {}};
  }

  at::Tensor run_step(const Step& step, const at::Tensor& tokens) {
    const int64_t batch = tokens.size(0);
    std::vector<int64_t> raw;  // rows of the step
    Part rows = nothing(batch);
    std::vector<at::Tensor> embedded;
    const at::Tensor table = at::from_blob(const_cast<std::byte*>(weights_.embed.data),
                                           {config_.vocab_size, config_.hidden_size}, at::kFloat)
                                 .to(at::kDouble);
    int64_t token = step.token_begin;
    is_beacon_ = at::zeros({step.num_rows(), 1}, at::kBool);
    for (int64_t r = 0; r < step.num_rows(); ++r) {
      const SlotKind kind = step.slots[static_cast<size_t>(r)];
      rows.born.push_back(index_);
      rows.beacon.push_back(kind == SlotKind::kRaw ? 0 : 1);
      if (kind == SlotKind::kRaw) {
        raw.push_back(r);
        embedded.push_back(table.index_select(0, tokens.select(1, token++)).unsqueeze(1));
      } else {
        if (kind == SlotKind::kBeacon) is_beacon_[r].fill_(true);
        const at::Tensor own = leaves_.at("model.beacon_embed_tokens.weight");
        const auto source = [&] {
          return table.index_select(0, tokens.select(1, step.echo_of[static_cast<size_t>(r)])).unsqueeze(1);
        };
        embedded.push_back(echoes_ ? source() + own : own.expand({batch, 1, config_.hidden_size}));
      }
    }
    at::Tensor x = at::cat(embedded, 1);
    const Part memory = join(join(sink_, beacons_), open_);
    for (size_t l = 0; l < weights_.layers.size(); ++l) x = layer(step, l, x, memory, rows);
    ++index_;
    close(step, rows);
    return loss(step, x.index_select(1, at::tensor(raw, at::kLong)));
  }

  void close(const Step& step, const Part& rows) {
    open_ = join(open_, rows);
    if (!step.close.closes) return;
    const Part window = open_;
    sink_ = join(sink_, pick(window, step.close.sink));
    beacons_ = join(beacons_, pick(window, step.close.beacons));
    open_ = pick(window, step.close.keep);
  }

  at::Tensor loss(const Step& step, const at::Tensor& x) const {
    const int64_t first = step.token_begin, count = step.token_end - step.token_begin;
    const at::Tensor log_p = at::log_softmax(dense(weights_.lm_head, rms(x, weights_.norm)), -1);
    const at::Tensor picked = log_p.gather(2, labels_.narrow(1, first, count).unsqueeze(2)).squeeze(2);
    return -(picked * scored_.narrow(0, first, count)).sum();
  }

  at::Tensor layer(const Step& step, size_t l, at::Tensor x, const Part& memory, Part& rows) {
    const LayerWeights& w = weights_.layers[l];
    const std::string attn = fmt::format("model.layers.{}.self_attn.beacon_", l);
    const std::string mlp = fmt::format("model.layers.{}.mlp.beacon_", l);
    const at::Tensor normed = rms(x, w.input_norm);
    const at::Tensor q = copied(step, routed(w.q, attn + "q_proj", normed));
    rows.k[l] = copied(step, routed(w.k, attn + "k_proj", normed));
    rows.v[l] = copied(step, routed(w.v, attn + "v_proj", normed));
    Part all = join(memory, rows);
    all.k[l] = at::cat({constants(memory, memory.k[l]), rows.k[l]}, 1);
    all.v[l] = at::cat({constants(memory, memory.v[l]), rows.v[l]}, 1);
    x = x + routed(w.o, attn + "o_proj", attention(step, q, all, l, attn + "gate"));
    const at::Tensor again = rms(x, w.post_norm);
    const at::Tensor gate = dense(w.gate, again);
    return x +
           routed(w.down, mlp + "down_proj", gate * gate.sigmoid() * routed(w.up, mlp + "up_proj", again));
  }

  // Rows that are too old pass no gradients on.
  at::Tensor constants(const Part& memory, const at::Tensor& x) const {
    if (truncate_ == 0) return x;
    at::Tensor old = at::zeros({memory.rows(), 1}, at::kBool);
    for (int64_t r = 0; r < memory.rows(); ++r) {
      if (memory.born[static_cast<size_t>(r)] < index_ - truncate_) old[r].fill_(true);
    }
    return at::where(old, x.detach(), x);
  }

  at::Tensor attention(const Step& step, const at::Tensor& q, const Part& all, size_t l,
                       const std::string& gate) {
    const int64_t batch = q.size(0), new_rows = q.size(1), keys = all.rows();
    const int64_t heads = config_.num_attention_heads, group = heads / config_.num_key_value_heads;
    std::vector<int32_t> positions = positions_from(0, step.memory_rows());
    std::copy(step.cached_positions.begin(), step.cached_positions.end(),
              positions.end() - static_cast<int64_t>(step.cached_positions.size()));
    positions.insert(positions.end(), step.positions.begin(), step.positions.end());
    const at::Tensor frequencies = plain_frequencies(config_.rope.theta, config_.head_dim);
    const auto split = [&](const at::Tensor& x) {
      return x.view({batch, x.size(1), -1, config_.head_dim}).transpose(1, 2);
    };
    const at::Tensor q_heads = turned(split(q), angles(step.positions, frequencies));
    const at::Tensor k_heads =
        turned(split(all.k[l]), angles(positions, frequencies)).repeat_interleave(group, 1);
    const at::Tensor v_heads = split(all.v[l]).repeat_interleave(group, 1);
    at::Tensor scores =
        at::matmul(q_heads, k_heads.transpose(2, 3)) / std::sqrt(static_cast<double>(config_.head_dim));
    if (const auto found = leaves_.find(gate); found != leaves_.end()) {
      scores =
          scores + found->second.view({heads, 1, 1}) *
                       at::tensor(std::vector<double>(all.beacon.begin(), all.beacon.end()), at::kDouble);
    }
    at::Tensor visible = at::ones({new_rows, keys}, at::kBool).tril(keys - new_rows);
    if (!step.causal) {
      visible = at::tensor(std::vector<int64_t>(step.mask.begin(), step.mask.end()), at::kLong)
                    .view({new_rows, keys})
                    .to(at::kBool);
    }
    scores = scores.masked_fill(visible.logical_not(), -HUGE_VAL);
    return at::matmul(at::softmax(scores, -1), v_heads).transpose(1, 2).reshape({batch, new_rows, -1});
  }

  static at::Tensor copied(const Step& step, const at::Tensor& x) {
    if (step.copy_from.empty()) return x;
    std::vector<int64_t> index;
    for (size_t r = 0; r < step.copy_from.size(); ++r)
      index.push_back(step.copy_from[r] < 0 ? static_cast<int64_t>(r) : step.copy_from[r]);
    return x.index_select(1, at::tensor(index, at::kLong));
  }

  // Both projections of every row, then the right one is taken.
  at::Tensor routed(const ops::Weight& base, const std::string& name, const at::Tensor& x) const {
    const auto own = leaves_.find(name + ".weight");
    const at::Tensor of_base = dense(base, x) + lora(name, x);
    if (own == leaves_.end()) return of_base;
    at::Tensor y = at::matmul(x, own->second.t());
    if (const auto bias = leaves_.find(name + ".bias"); bias != leaves_.end()) y = y + bias->second;
    return at::where(is_beacon_, y, of_base);
  }

  // What LoRA adds to the base's projection; `name` is that of the beacons' own.
  at::Tensor lora(std::string name, const at::Tensor& x) const {
    name.replace(name.find("beacon_"), 7, "");
    const auto a = leaves_.find("base_model.model." + name + ".lora_A.weight");
    if (a == leaves_.end()) return at::zeros({1}, at::kDouble);
    const auto b = leaves_.find("base_model.model." + name + ".lora_B.weight");
    return lora_scale_ * at::matmul(x, at::matmul(b->second, a->second).t());
  }

  static at::Tensor dense(const ops::Weight& w, const at::Tensor& x) {
    const at::Tensor matrix =
        at::from_blob(const_cast<std::byte*>(w.data), {w.out, w.in}, at::kFloat).to(at::kDouble);
    const at::Tensor y = at::matmul(x, matrix.t());
    return w.bias.defined() ? y + w.bias : y;
  }

  at::Tensor rms(const at::Tensor& x, const at::Tensor& weight) const {
    return x / (x.square().mean(-1, true) + config_.rms_norm_eps).sqrt() * weight;
  }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  int64_t truncate_;
  double lora_scale_ = 1.0;
  std::map<std::string, at::Tensor> leaves_;  // f64
  at::Tensor labels_, scored_;                // [B, n], [n]
  Part sink_, beacons_, open_;
  bool echoes_ = false;
  at::Tensor is_beacon_;  // bool [T, 1]
  int64_t index_ = 0;     // of the step
};

}  // namespace

std::vector<float> worth_of(const std::vector<int32_t>& ids) {
  std::vector<float> worth;
  for (const int32_t id : ids) worth.push_back(static_cast<float>(id % 7));
  return worth;
}

WholeGraphResult run_whole_graph(const ModelConfig& config, const ModelWeights& weights,
                                 const BeaconParameters& parameters, const WindowOptions& options,
                                 const std::vector<int32_t>& ids, int64_t batch, int64_t truncate_steps) {
  return WholeGraph(config, weights, parameters, truncate_steps).run(options, ids, batch);
}

}  // namespace beacon::testing
