#pragma once
// What the base model knows when it reads everything: the target of distillation.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "model/recorded_forward.h"

namespace beacon {

// The base's normalised hidden states of tokens under full attention, [B, min(n, max_positions), D] in the
// compute type: its own rows without any beacon, within the window it was trained on. ids [B * n].
at::Tensor teacher_hidden(const RecordedNetwork& network, std::span<const int32_t> ids, int64_t batch,
                          int64_t max_positions);

}  // namespace beacon
