#pragma once
// What tests on a GPU share.
#include <optional>
#include <string>

#include "ops/device.h"
#include "ops/tensor_check.h"

namespace beacon::testing {

// The first GPU, opened before anything else of torch runs; skips the test where there is none.
class CudaTest : public TensorTest {
 protected:
  void SetUp() override {
    static const std::string reason = open();
    if (!reason.empty()) GTEST_SKIP() << reason;
    TensorTest::SetUp();
  }
  static at::Device gpu() { return {at::kCUDA, 0}; }

 private:
  static std::string open() {
    try {
      ops::open_device("cuda");
      return "";
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kUnsupported) throw;
      return error.what();
    }
  }
};

}  // namespace beacon::testing
