#pragma once
// Telling checkpoints and adapters apart without reading all of them; internal to io.
#include <span>
#include <string>
#include <string_view>

#include "io/tensor_view.h"

namespace beacon {

// 32 hex digits: XXH3-128 over `essentials` and, sorted by name, each tensor's name, dtype, shape and three
// samples of 4 KiB (start, middle, end; all of it when it is not longer than that).
std::string fingerprint_tensors(std::string_view essentials, std::span<const TensorView* const> tensors);

}  // namespace beacon
