// NCCL on one GPU: that it loads, connects and takes what it is given.
#include <ATen/Functions.h>
#include <c10/core/DeviceGuard.h>

#include "cuda/cuda_fixture.h"
#include "train/nccl_sums.h"

namespace beacon {
namespace {

class NcclTest : public beacon::testing::CudaTest {};

TEST_F(NcclTest, TheSumOfOneRankIsWhatItWas) {
  const c10::DeviceGuard guard(gpu());
  const auto alone = single_process();
  NcclSums nccl(*alone);
  const at::Tensor values = at::arange(1000, at::kFloat).to(gpu());
  nccl.sum(values);
  EXPECT_TRUE(values.cpu().equal(at::arange(1000, at::kFloat)));
}

}  // namespace
}  // namespace beacon
