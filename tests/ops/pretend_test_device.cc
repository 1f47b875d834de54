#include "ops/device_kernels.h"
#include "ops/device_ops_test.h"
#include "ops/pretend_device.h"

namespace beacon::testing {

std::optional<std::string> no_test_device() { return std::nullopt; }

// With the kernels of a GPU, compiled as plain loops.
at::Device test_device() {
  ops::use_device_kernels(pretend_device().type(), beacon_device_kernels());
  return pretend_device();
}

}  // namespace beacon::testing
