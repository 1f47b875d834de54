#pragma once
// The loss of rows of logits, and its gradient written over them.
#include <cstdint>

#include "base/dtype.h"

namespace beacon::kernels {

// p is the softmax of a row of logits, t that of the teacher's row.
struct LossRows {
  DType type = DType::kF32;       // kF32 or kBF16, of logits and teacher
  void* logits = nullptr;         // [rows, vocabulary] contiguous; becomes the gradient when `differentiate`
  const void* teacher = nullptr;  // [rows, vocabulary] logits contiguous, or null
  const int32_t* labels = nullptr;    // [rows], each in [0, vocabulary)
  int64_t vocabulary = 0;             // at least 1
  float cross_entropy_weight = 1.0F;  // of -log p[label]
  float divergence_weight = 0.0F;     // of sum t log(t / p); counts only with a teacher
  bool differentiate = true;
  float* cross_entropy = nullptr;  // [rows] in nats, not weighted
  float* divergence = nullptr;     // [rows] the same; written only with a teacher
};

// Rows [begin, end): losses, and (weights) (p - onehot), (p - t) over the logits. Arithmetic is f32, bf16
// gradients are rounded to nearest even; logits must be finite. Losses are within a few units in the
// last place of the largest logit of those of the given logits.
void loss_rows(const LossRows& params, int64_t begin, int64_t end) noexcept;

}  // namespace beacon::kernels
