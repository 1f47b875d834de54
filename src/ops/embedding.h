#pragma once
// Looking up token rows.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "ops/linear.h"

namespace beacon::ops {

// y[r] = table[ids[r]]; the id table.out (one past the vocabulary) takes `extra`, the beacon's row. With
// `echoes` it takes table[ids[r - 1]] + extra, and the row before it must be a token's.
// table [V, D] in any weight type, extra f32 [D] (may be undefined when no id needs it), y [R, D] contiguous
// f32. Throws kInvalidArgument for an id outside the table.
void embed(std::span<const int32_t> ids, const Weight& table, const at::Tensor& extra, const at::Tensor& y,
           bool echoes = false);

}  // namespace beacon::ops
