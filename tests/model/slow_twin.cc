#include "model/slow_twin.h"

namespace beacon::testing {
namespace {

ops::Weight dense(int64_t out, int64_t in, bool bias = false) {
  ops::Weight w = make_weight(DType::kF32, at::randn({out, in}) / std::sqrt(static_cast<double>(in))).weight;
  if (bias) w.bias = at::randn({out}) * 0.5;
  return w;
}

at::Tensor apply(const ops::Weight& w, const at::Tensor& x) {
  const at::Tensor matrix =
      at::from_blob(const_cast<std::byte*>(w.data), {w.out, w.in}, at::kFloat).to(at::kDouble);
  const at::Tensor y = at::matmul(x, matrix.t());
  return w.bias.defined() ? y + w.bias : y;
}

at::Tensor rms(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return x / (x.square().mean(-1, true) + eps).sqrt() * weight;
}

class Twin {
 public:
  Twin(const ModelConfig& config, const ModelWeights& weights, const TwinRows& rows)
      : config_(config), weights_(weights), rows_(rows), count_(static_cast<int64_t>(rows.ids.size())) {
    beacon_ = at::zeros({count_, 1}, at::kBool);
    for (const int32_t r : rows.beacon_rows) beacon_[r].fill_(true);
  }

  TwinResult run() {
    TwinResult result;
    const at::Tensor table = at::from_blob(const_cast<std::byte*>(weights_.embed.data),
                                           {config_.vocab_size, config_.hidden_size}, at::kFloat);
    const at::Tensor ids = at::tensor(rows_.ids, at::kLong);
    at::Tensor x = at::cat({table, weights_.beacon_embed.unsqueeze(0)}).index_select(0, ids).to(at::kDouble);
    for (const int32_t r : rows_.beacon_rows) {
      if (rows_.echoes) x[r] = table[rows_.ids[static_cast<size_t>(r)]] + weights_.echo_embed;
    }
    for (const LayerWeights& w : weights_.layers) {
      x = x + attention(w, rms(x, w.input_norm, config_.rms_norm_eps), result);
      x = x + feed_forward(w, rms(x, w.post_norm, config_.rms_norm_eps));
    }
    result.hidden = rms(x, weights_.norm, config_.rms_norm_eps);
    return result;
  }

 private:
  // Both projections of every row, then the right one is taken.
  at::Tensor routed(const ops::Weight& base, const ops::Weight& own, const at::Tensor& x) const {
    return own.defined() ? at::where(beacon_, apply(own, x), apply(base, x)) : apply(base, x);
  }

  // [heads, T, H]
  at::Tensor heads(at::Tensor rows, int64_t count) const {
    for (size_t r = 0; r < rows_.copy_from.size(); ++r) {
      if (rows_.copy_from[r] >= 0) rows[static_cast<int64_t>(r)].copy_(rows[rows_.copy_from[r]]);
    }
    return rows.view({count_, count, config_.head_dim}).transpose(0, 1);
  }

  at::Tensor attention(const LayerWeights& w, const at::Tensor& x, TwinResult& result) const {
    const at::Tensor angle = angles(rows_.positions, plain_frequencies(config_.rope.theta, config_.head_dim));
    const int64_t n = config_.num_attention_heads, kv = config_.num_key_value_heads;
    const at::Tensor q = turned(heads(routed(w.q, w.beacon.q, x), n), angle);
    const at::Tensor k = turned(heads(routed(w.k, w.beacon.k, x), kv), angle);
    const at::Tensor v = heads(routed(w.v, w.beacon.v, x), kv);
    result.k.push_back(k);
    result.v.push_back(v);
    at::Tensor mask = rows_.mask.defined() ? rows_.mask : at::ones({count_, count_}, at::kBool).tril();
    at::Tensor out = at::zeros({count_, n, config_.head_dim}, at::kDouble);
    for (int64_t h = 0; h < n; ++h) {
      const int64_t shared = h / (n / kv);
      at::Tensor scores = at::matmul(q[h], k[shared].t()) / std::sqrt(static_cast<double>(config_.head_dim));
      if (w.beacon.gate.defined() && !rows_.beacon_keys.empty()) {
        scores = scores + w.beacon.gate[h].to(at::kDouble) * at::tensor(rows_.beacon_keys, at::kDouble);
      }
      scores = scores.masked_fill(mask.logical_not(), -HUGE_VAL);
      out.select(1, h).copy_(at::matmul(at::softmax(scores, -1), v[shared]));
    }
    return routed(w.o, w.beacon.o, out.reshape({count_, -1}));
  }

  at::Tensor feed_forward(const LayerWeights& w, const at::Tensor& x) const {
    const at::Tensor gate = apply(w.gate, x);
    return routed(w.down, w.beacon.down, gate * gate.sigmoid() * routed(w.up, w.beacon.up, x));
  }

  const ModelConfig& config_;
  const ModelWeights& weights_;
  const TwinRows& rows_;
  int64_t count_;
  at::Tensor beacon_;
};

}  // namespace

ModelConfig tiny_config() {
  ModelConfig c;
  c.hidden_size = 32;
  c.intermediate_size = 48;
  c.num_hidden_layers = 3;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 8;
  c.vocab_size = 20;
  c.max_position_embeddings = 512;
  c.rms_norm_eps = 1e-5;
  c.rope.theta = 1000.0;
  return c;
}

ModelWeights tiny_weights(const ModelConfig& c) {
  ModelWeights w;
  const int64_t d = c.hidden_size, q = c.num_attention_heads * c.head_dim,
                kv = c.num_key_value_heads * c.head_dim;
  w.embed = make_weight(DType::kF32, at::randn({c.vocab_size, d})).weight;
  w.beacon_embed = at::randn({d});
  w.echo_embed = at::randn({d});
  w.norm = at::rand({d}) + 0.5;
  w.lm_head = dense(c.vocab_size, d);
  for (int64_t l = 0; l < c.num_hidden_layers; ++l) {
    LayerWeights layer;
    layer.input_norm = at::rand({d}) + 0.5;
    layer.post_norm = at::rand({d}) + 0.5;
    layer.q = dense(q, d, true);
    layer.k = dense(kv, d, true);
    layer.v = dense(kv, d, true);
    layer.o = dense(d, q);
    layer.gate = dense(c.intermediate_size, d);
    layer.up = dense(c.intermediate_size, d);
    layer.down = dense(d, c.intermediate_size);
    layer.beacon.q = dense(q, d, true);
    layer.beacon.k = dense(kv, d);
    layer.beacon.v = dense(kv, d, true);
    layer.beacon.o = dense(d, q);
    layer.beacon.up = dense(c.intermediate_size, d);
    layer.beacon.down = dense(d, c.intermediate_size);
    w.layers.push_back(std::move(layer));
  }
  return w;
}

Transformer make_transformer(const ModelConfig& config, const ModelWeights& weights) {
  return Transformer(config, weights,
                     ops::Rope(config.rope, config.head_dim, config.max_position_embeddings));
}

KvMemory empty_memory(const ModelConfig& config, int64_t batch) {
  KvGeometry g;
  g.batch = batch;
  g.num_layers = config.num_hidden_layers;
  g.num_kv_heads = config.num_key_value_heads;
  g.head_dim = config.head_dim;
  g.keys_rotated = config.rope.kind != RopeKind::kDynamic;
  return KvMemory(g);
}

TwinResult run_twin(const ModelConfig& config, const ModelWeights& weights, const TwinRows& rows) {
  return Twin(config, weights, rows).run();
}

}  // namespace beacon::testing
