// Operations on a device against the same in host memory: with the device's own kernels and, where
// test_device() says it can do without, with torch's operations alone. Compiled into the tests of the pretend
// device and into those of a GPU.
#include "ops/device_ops_test.h"

#include "ops/attention.h"
#include "ops/device_kernels.h"
#include "ops/embedding.h"
#include "ops/linear_on_device.h"
#include "ops/norm.h"
#include "ops/rope.h"
#include "ops/swiglu.h"
#include "ops/weight_maker.h"

namespace beacon::ops {
namespace {

using namespace beacon::testing;

class DeviceOpsTest : public TensorTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    if (const auto reason = no_test_device()) GTEST_SKIP() << *reason;
    TensorTest::SetUp();
    device_ = test_device();
    kernels_ = device_kernels(device_);
    if (!GetParam()) use_device_kernels(device_.type(), nullptr);
    if (GetParam() && kernels_ == nullptr) GTEST_SKIP() << "libbeacon_cuda.so was not built";
  }
  void TearDown() override {
    if (!IsSkipped()) use_device_kernels(device_.type(), kernels_);
  }

  at::Tensor there(const at::Tensor& x) const { return x.to(device_); }

  // As move_to(ModelWeights&) leaves it.
  Weight resident(const Weight& host, at::ScalarType compute) const {
    Weight weight = host;
    if (GetParam() && is_quantised(host.dtype) && compute == at::kBFloat16) {
      weight.resident_blocks =
          there(at::from_blob(const_cast<std::byte*>(host.data), {host.out, host.row_bytes()}, at::kByte));
    } else {
      weight.resident = there(expand(host, compute));
    }
    if (host.bias.defined()) weight.bias = there(host.bias);
    return weight;
  }

  at::Device device_ = at::kCPU;
  const kernels::DeviceKernels* kernels_ = nullptr;
};
INSTANTIATE_TEST_SUITE_P(Kernels, DeviceOpsTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "own" : "torch"; });

TEST_P(DeviceOpsTest, Linear) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_1}) {
    for (const auto compute : {at::kFloat, at::kBFloat16}) {
      for (const auto out_type : {at::kFloat, at::kBFloat16}) {
        if (compute == at::kFloat && out_type == at::kBFloat16) continue;
        MadeWeight w = make_weight(type, at::randn({37, 96}));
        if (type == DType::kQ8_0) w.weight.bias = at::randn({37});
        const Weight weight = resident(w.weight, compute);
        for (const int64_t rows : {1, 3, 8, 9, 40}) {
          SCOPED_TRACE(::testing::Message() << dtype_info(type).name << ", " << rows << " rows");
          const at::Tensor x = at::randn({rows, 96}).to(compute).to(at::kFloat);
          const at::Tensor y = at::empty({rows, 37}, at::TensorOptions(device_).dtype(out_type));
          LinearContext context;
          context.compute = compute;
          linear(there(x), weight, y, context);
          at::Tensor expected = at::mm(x.to(at::kDouble), w.values.t());
          if (w.weight.bias.defined()) expected = expected + w.weight.bias;
          const at::Tensor size = at::mm(x.to(at::kDouble).abs(), w.values.abs().t()) + 3.0;
          // The weight is rounded to bf16, independently for each term, and so is the result.
          const bool bf16 = compute == at::kBFloat16;
          expect_close(
              y.cpu(), expected,
              bf16 ? size * (kEpsBf16 * 0.5) + expected.abs() * (2 * kEpsBf16) : size * (100 * kEpsF32));
        }
      }
    }
  }
}

TEST_P(DeviceOpsTest, Embedding) {
  const std::vector<int32_t> ids = {4, 0, 37, 36, 37, 4};  // 37: the extra row
  for (const DType type : {DType::kF32, DType::kQ8_0, DType::kQ4_1}) {
    SCOPED_TRACE(dtype_info(type).name);
    const MadeWeight w = make_weight(type, at::randn({37, 64}));
    const at::Tensor extra = at::randn({64});
    const at::Tensor y = at::empty({6, 64}, at::TensorOptions(device_).dtype(at::kFloat));
    embed(ids, resident(w.weight, at::kBFloat16), there(extra), y);
    for (int64_t r = 0; r < 6; ++r) {
      const int32_t id = ids[static_cast<size_t>(r)];
      const at::Tensor expected = id == 37 ? extra.to(at::kDouble) : w.values[id];
      expect_close(y.cpu()[r], expected, expected.abs() * kEpsBf16 + 1e-7);
    }
    const at::Tensor before = y.cpu();
    add_to_rows(y, std::array{1, 4}, there(extra));
    for (int64_t r = 0; r < 6; ++r) {
      expect_close(y.cpu()[r], r == 1 || r == 4 ? before[r] + extra : before[r],
                   extra.abs() * kEpsF32 + 1e-7);
    }
    expect_error(ErrorCode::kInvalidArgument, "token id 38", [&] {
      embed(std::vector<int32_t>{38}, resident(w.weight, at::kBFloat16), there(extra), y.narrow(0, 0, 1));
    });
  }
}

TEST_P(DeviceOpsTest, Norms) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor weight = at::randn({70}), x = at::randn({5, 70}), branch = at::randn({5, 70}).to(type);
    const at::Tensor y = at::empty({5, 70}, type), sum = x.clone(), z = at::empty({5, 70}, type);
    const at::Tensor y_there = there(y), sum_there = there(x), z_there = there(z);
    rms_norm(x, weight, 1e-5, y);
    rms_norm(there(x), there(weight), 1e-5, y_there);
    add_rms_norm(branch, sum, weight, 1e-5, z);
    add_rms_norm(there(branch), sum_there, there(weight), 1e-5, z_there);
    const double rounding = type == at::kFloat ? 16 * kEpsF32 : 2.1 * kEpsBf16;
    expect_close(y_there.cpu(), y, y.abs().to(at::kDouble) * rounding + 1e-9);
    expect_close(z_there.cpu(), z, z.abs().to(at::kDouble) * rounding + 1e-9);
    expect_equal(sum_there.cpu(), sum);
  }
}

TEST_P(DeviceOpsTest, Swiglu) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor gate = (at::randn({9, 70}) * 4).to(type), up = at::randn({9, 70}).to(type);
    const at::Tensor out = at::empty_like(gate), out_there = there(gate);
    swiglu(gate, up, out);
    swiglu(out_there, there(up), out_there);
    // torch's own operations round twice.
    const double rounding = type == at::kFloat ? 16 * kEpsF32 : 3.1 * kEpsBf16;
    expect_close(out_there.cpu(), out, out.abs().to(at::kDouble) * rounding + 1e-7);
  }
}

TEST_P(DeviceOpsTest, RopeOfStridedHeads) {
  const Rope rope(RopeConfig{}, 16, 4096);
  const std::vector<int32_t> positions = {0, 3, 4, 900};
  const RopeTable table = rope.table(positions, 1000);
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::randn({3, 8, 20, 16}).to(type);  // heads first
    const at::Tensor rows = x.select(0, 1).transpose(0, 1).narrow(0, 4, 8);
    const at::Tensor y = at::zeros({8, 8, 16}, type), y_there = there(y);
    apply_rope(rows, table, y);
    apply_rope(there(x).select(0, 1).transpose(0, 1).narrow(0, 4, 8), table.on(device_), y_there);
    const double rounding = type == at::kFloat ? 8 * kEpsF32 : 2.1 * kEpsBf16;
    expect_close(y_there.cpu(), y, y.abs().to(at::kDouble) * rounding + 4 * kEpsF32 * 4);
  }
}

TEST_P(DeviceOpsTest, Attention) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t rows : {1, 8, 30}) {
      for (const bool gated : {false, true}) {
        SCOPED_TRACE(::testing::Message() << rows << " rows, gate " << gated);
        const at::Tensor q = at::randn({2, rows, 6 * 16}).to(type);
        const at::Tensor k = at::randn({2, 2, 40, 16}).to(type), v = at::randn({2, 2, 40, 16}).to(type);
        AttentionOptions options, options_there;
        options.scale = options_there.scale = 0.25;
        if (gated) {
          options.gate = at::linspace(-4.03, 2.0, 6);
          options.gated_keys = at::arange(40).remainder(3).eq(0).to(at::kByte);
          options_there.gate = there(options.gate);
          options_there.gated_keys = there(options.gated_keys);
        }
        const at::Tensor out = at::empty_like(there(q));
        AttentionContext context;
        attention(there(q), there(k), there(v), options_there, out, context);
        expect_close(out.cpu(), attention_reference(q, k, v, options),
                     type == at::kFloat ? 64 * kEpsF32 : 4 * kEpsBf16);
      }
    }
  }
}

}  // namespace
}  // namespace beacon::ops
