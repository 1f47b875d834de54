#pragma once
// What tests on a GPU share.
#include <optional>
#include <string>

#include "ops/device.h"
#include "ops/tensor_check.h"

namespace beacon::testing {

// Opens the first GPU, before anything else of torch runs. Why there is none; nothing: there is.
inline std::optional<std::string> no_gpu() {
  static const std::optional<std::string> reason = []() -> std::optional<std::string> {
    try {
      ops::open_device("cuda");
      return std::nullopt;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      return error.what();
    }
  }();
  return reason;
}

// Skips the test where there is no GPU.
class CudaTest : public TensorTest {
 protected:
  void SetUp() override {
    if (const auto reason = no_gpu()) GTEST_SKIP() << *reason;
    TensorTest::SetUp();
  }
  static at::Device gpu() { return {at::kCUDA, 0}; }
};

}  // namespace beacon::testing
