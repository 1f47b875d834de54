#pragma once
// Looking up token rows.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "ops/linear.h"

namespace beacon::ops {

// y[r] = table[ids[r]]; the id table.out (one past the vocabulary) takes `extra`, the beacon's row.
// table [V, D] in any weight type, extra f32 [D] (may be undefined when no id needs it), y [R, D] contiguous
// f32. Throws kInvalidArgument for an id outside the table.
void embed(std::span<const int32_t> ids, const Weight& table, const at::Tensor& extra, const at::Tensor& y);

// y[r] += row for each r of `rows`, which are distinct: what is learnt of echoes. row f32 [D].
void add_to_rows(const at::Tensor& y, std::span<const int32_t> rows, const at::Tensor& row);

}  // namespace beacon::ops
