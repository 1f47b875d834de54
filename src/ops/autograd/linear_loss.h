#pragma once
// The loss of hidden states under a frozen language-model head, and its gradient, without the logits of all
// rows at once. Letters: R rows, D hidden size, V vocabulary.
#include <cstdint>

#include "ops/autograd/recording.h"

namespace beacon::ops::autograd {

// The label of a row that is not scored.
inline constexpr int32_t kIgnoredLabel = -100;

struct LinearLossOptions {
  double cross_entropy_weight = 1.0;
  // Weight of KL(teacher || student), where the teacher's logits are teacher_hidden head^T. Temperature 1.
  double divergence_weight = 0.0;
  at::Tensor teacher_hidden;  // [R, D], never differentiated; needed when divergence_weight is not 0
  at::Tensor row_weights;     // f32 [R], of each row in the total; undefined: 1 each
  // Rows whose logits exist at once. Results depend on it by the rounding of the head's product only.
  int64_t chunk_rows = 256;
};

struct LinearLoss {
  // 0-dim f32: sum over scored rows of row weight * (weight * cross-entropy + weight * divergence);
  // differentiable.
  at::Tensor total;
  at::Tensor cross_entropy;  // f32 [R], nats, not weighted, 0 where ignored; no gradient
  at::Tensor divergence;     // the same for KL(teacher || student); undefined without divergence_weight
  int64_t scored = 0;        // rows whose label is not kIgnoredLabel
};

// hidden [R, D] after the last norm; head [V, D] in context.compute; labels i32 [R], in host memory, in [0,
// V) or kIgnoredLabel (by the divergence as well). The gradient goes to hidden alone; when hidden requires
// one it is computed here, with the loss, and only scaled in backward(). Throws kInvalidArgument for a label
// outside the vocabulary.
LinearLoss linear_loss(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& labels,
                       const LinearLossOptions& options, const RecordingContext& context);

}  // namespace beacon::ops::autograd
