#pragma once
// Rotation of queries and keys by given tables.
#include "ops/autograd/recording.h"
#include "ops/rope.h"

namespace beacon::ops::autograd {

// x [B, T, heads, H] of f32 or bf16 turned by the rows of the table (cos, sin f32 [T, H / 2]), the same for
// every batch row: a new tensor of context.compute. Products are f32. The table gets no gradient.
at::Tensor rope(const at::Tensor& x, const RopeTable& table, const RecordingContext& context);

}  // namespace beacon::ops::autograd
