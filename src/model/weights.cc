#include "model/weights.h"

#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>

#include <array>
#include <cmath>

#include "base/check.h"
#include "io/rope_permutation.h"
#include "kernels/convert.h"
#include "ops/device_kernels.h"
#include "ops/linear_on_device.h"

namespace beacon {
namespace {

constexpr const char* kBeaconEmbedding = "model.beacon_embed_tokens.weight";

at::Tensor to_f32(const TensorView& view, int64_t elements) {
  require(view.elements() == elements, ErrorCode::kMismatch,
          "tensor {} has shape {}, {} elements were expected", view.name, shape_to_string(view.shape),
          elements);
  at::Tensor out = at::empty({elements}, at::kFloat);
  require(kernels::is_weight_type(view.dtype), ErrorCode::kUnsupported,
          "tensor {} has element type {}; a number type was expected", view.name,
          dtype_info(view.dtype).name);
  kernels::dequantize_row(view.dtype, view.bytes.data(), out.data_ptr<float>(), elements);
  return out;
}

// A bad scale or a stray NaN in a vector that multiplies every row would silence the whole model.
at::Tensor finite(const at::Tensor& values, const TensorView& view) {
  require(at::isfinite(values).all().item<bool>(), ErrorCode::kBadFile,
          "tensor {} holds NaN or infinite values; finite numbers were expected: the file is damaged",
          view.name);
  return values;
}

// Rows of llama GGUF files, put back into Hugging Face's order.
class OwnedRows {
 public:
  OwnedRows(const TensorView& view, int64_t head_dim) : bytes_(view.bytes.size()) {
    unpermute_rows(view.bytes, bytes_, view.shape[0], head_dim);
  }
  const std::byte* data() const { return bytes_.data(); }

 private:
  std::vector<std::byte> bytes_;
};

class Binder {
 public:
  Binder(std::shared_ptr<const Checkpoint> checkpoint, std::shared_ptr<const Adapter> adapter,
         const BeaconConfig& config)
      : checkpoint_(std::move(checkpoint)),
        adapter_(std::move(adapter)),
        config_(config),
        model_(checkpoint_->config()) {}

  ModelWeights bind(std::optional<float> gate) {
    ModelWeights w;
    const int64_t d = model_.hidden_size;
    w.embed = matrix("model.embed_tokens.weight", model_.vocab_size, d);
    w.norm = vector("model.norm.weight", d);
    w.lm_head = model_.tie_word_embeddings ? w.embed : matrix("lm_head.weight", model_.vocab_size, d);
    for (int64_t l = 0; l < model_.num_hidden_layers; ++l) w.layers.push_back(layer(l, gate));
    w.beacon_embed = beacon_embedding(w.embed);
    w.echo_embed = find_beacon(kBeaconEmbedding) != nullptr ? w.beacon_embed : at::zeros_like(w.beacon_embed);
    if (const TensorView* worth = find_beacon(kTokenWorth))
      w.token_worth = finite(to_f32(*worth, model_.vocab_size), *worth);
    w.num_parameters = parameters_;
    w.bytes = bytes_;
    w.trained_beacons = trained_;
    return w;
  }

 private:
  LayerWeights layer(int64_t index, std::optional<float> gate) {
    const std::string prefix = fmt::format("model.layers.{}.", index);
    const int64_t d = model_.hidden_size, f = model_.intermediate_size;
    const int64_t q = model_.num_attention_heads * model_.head_dim,
                  kv = model_.num_key_value_heads * model_.head_dim;
    LayerWeights w;
    w.input_norm = vector(prefix + "input_layernorm.weight", d);
    w.post_norm = vector(prefix + "post_attention_layernorm.weight", d);
    w.q = matrix(prefix + "self_attn.q_proj", q, d, model_.qkv_bias, checkpoint_->permuted_qk());
    w.k = matrix(prefix + "self_attn.k_proj", kv, d, model_.qkv_bias, checkpoint_->permuted_qk());
    w.v = matrix(prefix + "self_attn.v_proj", kv, d, model_.qkv_bias);
    w.o = matrix(prefix + "self_attn.o_proj", d, q, model_.o_bias);
    w.gate = matrix(prefix + "mlp.gate_proj", f, d, model_.mlp_bias);
    w.up = matrix(prefix + "mlp.up_proj", f, d, model_.mlp_bias);
    w.down = matrix(prefix + "mlp.down_proj", d, f, model_.mlp_bias);

    w.q.low_rank = low_rank(index, 'q', w.q);
    w.k.low_rank = low_rank(index, 'k', w.k);
    w.v.low_rank = low_rank(index, 'v', w.v);
    w.o.low_rank = low_rank(index, 'o', w.o);

    w.beacon.q = beacon_matrix(prefix + "self_attn.beacon_q_proj", config_.params.q, w.q);
    w.beacon.k = beacon_matrix(prefix + "self_attn.beacon_k_proj", config_.params.k, w.k);
    w.beacon.v = beacon_matrix(prefix + "self_attn.beacon_v_proj", config_.params.v, w.v);
    w.beacon.o = beacon_matrix(prefix + "self_attn.beacon_o_proj", config_.params.o, w.o);
    w.beacon.up = beacon_matrix(prefix + "mlp.beacon_up_proj", config_.params.mlp, w.up);
    w.beacon.down = beacon_matrix(prefix + "mlp.beacon_down_proj", config_.params.mlp, w.down);
    if (const TensorView* view = find_beacon(prefix + "self_attn.beacon_gate")) {
      w.beacon.gate = finite(to_f32(*view, model_.num_attention_heads), *view);
    } else if (gate) {
      w.beacon.gate = at::full({model_.num_attention_heads}, *gate, at::kFloat);
    }
    return w;
  }

  at::Tensor vector(const std::string& name, int64_t elements) {
    const TensorView& view = checkpoint_->get(name, std::array{elements});
    parameters_ += elements;
    bytes_ += elements * 4;
    return finite(to_f32(view, elements), view);
  }

  ops::Weight view_of(const TensorView& view, std::shared_ptr<const void> owner) {
    require(kernels::is_weight_type(view.dtype), ErrorCode::kUnsupported,
            "tensor {} has element type {}; F32, F16, BF16 or a quantised GGUF type was expected", view.name,
            dtype_info(view.dtype).name);
    ops::Weight w;
    w.dtype = view.dtype;
    w.out = view.shape[0];
    w.in = view.shape[1];
    w.data = view.bytes.data();
    w.owner = std::move(owner);
    return w;
  }

  ops::Weight matrix(const std::string& name, int64_t out, int64_t in) {
    const TensorView& view = checkpoint_->get(name, std::array{out, in});
    ops::Weight w = view_of(view, checkpoint_);
    parameters_ += out * in;
    bytes_ += w.bytes();
    return w;
  }

  ops::Weight matrix(const std::string& name, int64_t out, int64_t in, bool bias, bool permuted = false) {
    ops::Weight w = matrix(name + ".weight", out, in);
    if (bias) w.bias = vector(name + ".bias", out);
    if (!permuted) return w;
    const TensorView& view = checkpoint_->get(name + ".weight", std::array{out, in});
    auto rows = std::make_shared<OwnedRows>(view, model_.head_dim);
    w.data = rows->data();
    w.owner = std::move(rows);
    if (bias) {
      at::Tensor ordered = at::empty_like(w.bias);
      for (int64_t r = 0; r < out; ++r) {
        ordered.data_ptr<float>()[r] = w.bias.data_ptr<float>()[gguf_row_of_hf_row(r, model_.head_dim)];
      }
      w.bias = ordered;
    }
    return w;
  }

  const TensorView* find_beacon(const std::string& name) const {
    return adapter_ ? adapter_->find(name) : checkpoint_->find(name);
  }

  std::shared_ptr<const void> beacon_owner() const {
    if (adapter_) return adapter_;
    return checkpoint_;
  }

  at::Tensor lora_matrix(const LoraTensorName& name, int64_t rows, int64_t cols) {
    const TensorView* view = adapter_->find(name.text());
    if (view == nullptr) return {};
    require(view->shape == std::vector<int64_t>{rows, cols}, ErrorCode::kMismatch,
            "LoRA tensor {} has shape {}, the base needs [{}, {}]: the adapter was made for another model",
            view->name, shape_to_string(view->shape), rows, cols);
    trained_ = true;
    bytes_ += rows * cols * 4;
    return finite(to_f32(*view, rows * cols), *view).view({rows, cols});
  }

  // The adapter has both matrices or none, see check_lora_tensors().
  ops::LowRank low_rank(int64_t layer, char target, const ops::Weight& base) {
    if (!adapter_ || !config_.lora) return {};
    const int64_t rank = config_.lora->rank;
    return {lora_matrix({layer, target, 'A'}, rank, base.in),
            lora_matrix({layer, target, 'B'}, base.out, rank), config_.lora->scale()};
  }

  // Undefined when it is not used or missing: the base's projection then serves beacons too.
  ops::Weight beacon_matrix(const std::string& name, bool listed, const ops::Weight& base) {
    if (!listed) return {};
    const TensorView* view = find_beacon(name + ".weight");
    if (view == nullptr) return {};
    require(view->shape == std::vector<int64_t>{base.out, base.in}, ErrorCode::kMismatch,
            "beacon tensor {} has shape {}, the base needs [{}, {}]: the adapter was made for another model",
            view->name, shape_to_string(view->shape), base.out, base.in);
    ops::Weight w = view_of(*view, beacon_owner());
    trained_ = true;
    bytes_ += w.bytes();
    const TensorView* bias = find_beacon(name + ".bias");
    if (bias != nullptr) {
      w.bias = finite(to_f32(*bias, base.out), *bias);
    } else {
      w.bias = base.bias;
    }
    return w;
  }

  at::Tensor beacon_embedding(const ops::Weight& embed) {
    const int64_t d = model_.hidden_size;
    if (const TensorView* view = find_beacon(kBeaconEmbedding)) {
      trained_ = true;
      bytes_ += d * 4;
      return finite(to_f32(*view, d), *view);
    }
    // The original copies the first eos (or bos) row; a model without either gets the first row.
    int64_t id = 0;
    if (config_.embed_init == BeaconEmbedInit::kEos && !model_.eos_token_ids.empty())
      id = model_.eos_token_ids.front();
    if (config_.embed_init == BeaconEmbedInit::kBos && model_.bos_token_id) id = *model_.bos_token_id;
    require(id >= 0 && id < embed.out, ErrorCode::kMismatch,
            "token id {} of the configuration is outside the vocabulary of {}", id, embed.out);
    at::Tensor row = at::empty({d}, at::kFloat);
    kernels::dequantize_row(embed.dtype, embed.data + id * embed.row_bytes(), row.data_ptr<float>(), d);
    return row;
  }

  std::shared_ptr<const Checkpoint> checkpoint_;
  std::shared_ptr<const Adapter> adapter_;
  const BeaconConfig& config_;
  const ModelConfig& model_;
  int64_t parameters_ = 0;
  int64_t bytes_ = 0;
  bool trained_ = false;
};

}  // namespace

ModelWeights load_weights(const std::shared_ptr<const Checkpoint>& checkpoint,
                          const std::shared_ptr<const Adapter>& adapter, const BeaconConfig& config,
                          std::optional<float> gate) {
  return Binder(checkpoint, adapter, config).bind(gate);
}

namespace {

void move_tensor(at::Tensor& tensor, at::Device device) {
  if (tensor.defined()) tensor = tensor.to(device);
}

// What of a model is kept on its device.
struct Residence {
  at::Device device;
  at::ScalarType compute;
  bool blocks;    // quantised weights in their blocks, for products of few rows
  bool matrices;  // those expanded as well, for products of many
};

// Expanded matrices are several times the size of their blocks: both are kept where that leaves as much again
// for memories and activations.
Residence residence(const ModelWeights& weights, at::Device device, at::ScalarType compute) {
  const c10::DeviceGuard guard(device);
  const kernels::DeviceKernels* kernels = ops::device_kernels(device);
  if (kernels == nullptr || compute != at::kBFloat16) return {device, compute, false, true};
  const int64_t both = 2 * weights.num_parameters + weights.bytes;
  return {device, compute, true, kernels->free_bytes() > 2 * both};
}

void move_matrix(ops::Weight& weight, const Residence& to) {
  if (!weight.defined()) return;
  const at::Device device = to.device;
  const bool blocks = to.blocks && is_quantised(weight.dtype);
  if (blocks) weight.resident_blocks = ops::blocks_on(device, weight);
  ops::Weight alone = weight;
  alone.low_rank = {};
  if (!blocks || to.matrices) weight.resident = ops::expand(alone, to.compute).to(device);
  move_tensor(weight.bias, device);
  move_tensor(weight.low_rank.a, device);
  move_tensor(weight.low_rank.b, device);
}

}  // namespace

void move_to(ModelWeights& weights, at::Device device, at::ScalarType compute) {
  const bool tied = weights.lm_head.data == weights.embed.data;
  const Residence to = residence(weights, device, compute);
  move_matrix(weights.embed, to);
  if (tied) {
    weights.lm_head = weights.embed;
  } else {
    move_matrix(weights.lm_head, to);
  }
  move_tensor(weights.beacon_embed, device);
  move_tensor(weights.echo_embed, device);
  move_tensor(weights.norm, device);
  for (LayerWeights& w : weights.layers) {
    move_tensor(w.input_norm, device);
    move_tensor(w.post_norm, device);
    move_tensor(w.beacon.gate, device);
    BeaconProjections& own = w.beacon;
    for (ops::Weight* matrix : {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down, &own.q, &own.k, &own.v,
                                &own.o, &own.up, &own.down})
      move_matrix(*matrix, to);
  }
}

}  // namespace beacon
