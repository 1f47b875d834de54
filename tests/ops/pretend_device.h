#pragma once
// A device for tests that is none: tensors of its own type, which live in host memory and are computed there,
// but which, as those of a GPU, refuse to meet tensors of the processor. What forgets to move something to
// the device fails on it as it would on a GPU, and what does not gives the processor's numbers.
#include <c10/core/Device.h>

namespace beacon::testing {

// Registered as "pretend" before main().
at::Device pretend_device();

}  // namespace beacon::testing
