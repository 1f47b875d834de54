#pragma once
// Merging the LoRA part of an adapter into the base's weights; internal to io.
#include <cstddef>
#include <vector>

#include "io/adapter.h"
#include "io/checkpoint.h"

namespace beacon {

// Throws kMismatch when a LoRA tensor does not fit the base's matrix, kUnsupported when that is not of
// element type F32, BF16 or F16.
void check_lora_fits(const TensorView& tensor, const LoraTensorName& name, const Checkpoint& base);

// Replaces those of `tensors` that the adapter has a low-rank part of by W + scale * B A, rounded to their
// own element type (nearest even). The bytes they then view are returned and must outlive them. Checked
// before with check_lora_fits().
std::vector<std::vector<std::byte>> merge_lora(std::vector<TensorView>& tensors, const Adapter& adapter);

}  // namespace beacon
