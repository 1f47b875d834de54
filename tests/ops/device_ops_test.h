#pragma once
// The device that the tests of operations on a device run on: each program that has them says which.
#include <optional>
#include <string>

#include "ops/tensor_check.h"

namespace beacon::testing {

// Why there is none; nothing: there is.
std::optional<std::string> no_test_device();
at::Device test_device();

}  // namespace beacon::testing
