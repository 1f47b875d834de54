#pragma once
// The frozen base as dense tensors, for recorded (differentiable) forwards: products forward and backward
// want whole matrices in the compute type.
// Letters: D hidden, F ffn, V vocab, N query heads, K KV heads, H head_dim.
#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

#include "model/weights.h"

namespace beacon {

struct RecordedMatrix {
  at::Tensor weight;  // [O, I] in the compute type
  at::Tensor bias;    // f32 [O] or undefined
};

struct RecordedLayer {
  at::Tensor input_norm, post_norm;  // f32 [D]
  RecordedMatrix q, k, v, o;         // [N * H, D], [K * H, D], [K * H, D], [D, N * H]
  RecordedMatrix gate, up, down;     // [F, D], [F, D], [D, F]
};

// Const after construction and shared by threads.
struct RecordedBase {
  ops::Weight embed;        // [V, D] as in the file
  at::Tensor embed_matrix;  // [V, D] on a GPU, or f32 with gradients in trainable_base(); else undefined
  std::vector<RecordedLayer> layers;
  at::Tensor norm;     // f32 [D]
  at::Tensor lm_head;  // [V, D] in the compute type
};

// Expands the weights once, without the low-rank parts of an adapter; `compute` is kFloat or kBFloat16. In
// host memory tied tables are expanded for the head alone; on another device the table is expanded too.
RecordedBase frozen_base(const ModelWeights& weights, at::ScalarType compute, at::Device device = at::kCPU);

// The same in f32 with gradients everywhere, for checks against the original's gradients of the base. The
// list names the tensors as in Hugging Face checkpoints.
RecordedBase trainable_base(const ModelWeights& weights,
                            std::vector<std::pair<std::string, at::Tensor>>& named);

}  // namespace beacon
