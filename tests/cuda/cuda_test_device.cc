#include "cuda/cuda_fixture.h"
#include "ops/device_ops_test.h"

namespace beacon::testing {

std::optional<std::string> no_test_device() { return no_gpu(); }
at::Device test_device() { return {at::kCUDA, 0}; }

}  // namespace beacon::testing
