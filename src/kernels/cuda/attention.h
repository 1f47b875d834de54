#pragma once
#include "kernels/cuda/device_kernels.h"

namespace beacon::kernels {

// DeviceKernels::attention.
const char* attention(const DeviceAttention& p, void* stream);

}  // namespace beacon::kernels
