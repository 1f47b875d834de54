#pragma once
// Kernels of our own on a device (kernels/cuda), where there are any.
#include <c10/core/Device.h>

#include <string>

#include "kernels/cuda/device_kernels.h"

namespace beacon::ops {

// Those of the device; null: torch's own operations do.
const kernels::DeviceKernels* device_kernels(at::Device device);

// Takes them from now on for all devices of a type; null: none. Before any model is loaded there.
void use_device_kernels(c10::DeviceType type, const kernels::DeviceKernels* kernels);

// Loads libbeacon_cuda.so from beside this library or program. Says why not, where it is not there or of
// another build; empty: all is well.
std::string load_cuda_kernels();

// The stream all work is queued on, ours and torch's.
inline constexpr void* kDefaultStream = nullptr;

// Throws kInternal with the reason, if there is one.
void check_launch(const char* reason);

}  // namespace beacon::ops
