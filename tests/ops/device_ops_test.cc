// Operations on a device against the same in host memory: with the device's own kernels and, where
// test_device() says it can do without, with torch's operations alone. Compiled into the tests of the pretend
// device and into those of a GPU.
#include "ops/device_ops_test.h"

#include "ops/attention_torch.h"
#include "ops/device_kernels.h"
#include "ops/embedding.h"
#include "ops/key_rows.h"
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
      weight.resident_blocks = blocks_on(device_, host);
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

// Weights of one type in one launch, of others in others, with and without a low-rank part.
TEST_P(DeviceOpsTest, LinearGroup) {
  const DType types[] = {DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, DType::kQ8_0,
                         DType::kQ4_1, DType::kBF16, DType::kQ8_0};
  const int64_t in = 512;
  std::vector<MadeWeight> made;
  std::vector<Weight> weights;
  for (size_t i = 0; i < std::size(types); ++i) {
    made.push_back(make_weight(types[i], at::randn({static_cast<int64_t>(5 + i), in})));
    weights.push_back(resident(made.back().weight, at::kBFloat16));
  }
  const at::Tensor a = at::randn({2, in}).to(at::kBFloat16), b = at::randn({6, 2}).to(at::kBFloat16);
  weights[1].low_rank = {there(a.to(at::kFloat)), there(b.to(at::kFloat)), 0.5};
  for (const int64_t rows : {1, 3, 8, 20}) {
    SCOPED_TRACE(rows);
    const at::Tensor x = at::randn({rows, in}).to(at::kBFloat16);
    std::vector<LinearTarget> targets;
    for (const Weight& weight : weights)
      targets.push_back(
          {&weight, at::empty({rows, weight.out}, at::TensorOptions(device_).dtype(at::kFloat))});
    LinearContext context;
    context.compute = at::kBFloat16;
    linear_group(there(x), targets, context);
    for (size_t i = 0; i < made.size(); ++i) {
      at::Tensor values = made[i].values;
      if (i == 1) values = values + at::mm(b.to(at::kDouble), a.to(at::kDouble)) * 0.5;
      const at::Tensor exact = at::mm(x.to(at::kDouble), values.t());
      const at::Tensor size = at::mm(x.to(at::kDouble).abs(), values.abs().t()) + 3.0;
      // A low-rank part goes through a bf16 number on its way.
      expect_close(targets[i].y.cpu(), exact,
                   size * (kEpsBf16 * (i == 1 ? 2.0 : 0.5)) + exact.abs() * (2 * kEpsBf16));
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
  for (const auto& [type, cols] : std::vector<std::pair<at::ScalarType, int64_t>>{
           {at::kFloat, 70}, {at::kBFloat16, 70}, {at::kFloat, 1030}, {at::kBFloat16, 5124}}) {
    const at::Tensor weight = at::randn({cols}), x = at::randn({5, cols}),
                     branch = at::randn({5, cols}).to(type);
    const at::Tensor y = at::empty({5, cols}, type), sum = x.clone(), z = at::empty({5, cols}, type);
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
  for (const auto& [type, cols] : std::vector<std::pair<at::ScalarType, int64_t>>{
           {at::kFloat, 70}, {at::kBFloat16, 70}, {at::kFloat, 72}, {at::kBFloat16, 72}}) {
    const at::Tensor gate = (at::randn({9, cols}) * 4).to(type), up = at::randn({9, cols}).to(type);
    const at::Tensor out = at::empty_like(gate), out_there = there(gate);
    swiglu(gate, up, out);
    swiglu(out_there, there(up), out_there);
    // torch's own operations round twice.
    const double rounding = type == at::kFloat ? 16 * kEpsF32 : 3.1 * kEpsBf16;
    expect_close(out_there.cpu(), out, out.abs().to(at::kDouble) * rounding + 1e-7);
  }
}

TEST_P(DeviceOpsTest, RopeOfHeadsThatFoursDoNotFill) {
  const RopeTable table = Rope(RopeConfig{}, 20, 4096).table(std::vector<int32_t>{3, 700}, 1000);
  const at::Tensor x = at::randn({4, 3, 20}), y = at::zeros({4, 3, 20}), y_there = there(y);
  apply_rope(x, table, y);
  apply_rope(there(x), table.on(device_), y_there);
  expect_close(y_there.cpu(), y, y.abs().to(at::kDouble) * (8 * kEpsF32) + 16 * kEpsF32);
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

// The rows of a memory beside what they are made of one by one.
TEST_P(DeviceOpsTest, AppendsToAMemory) {
  const RopeTable table = Rope(RopeConfig{}, 16, 4096).table(std::vector<int32_t>{7, 8, 900}, 1000);
  for (const auto& [type, held] : std::vector<std::pair<at::ScalarType, at::ScalarType>>{
           {at::kFloat, at::kFloat}, {at::kBFloat16, at::kBFloat16}, {at::kBFloat16, at::kFloat}}) {
    for (const bool keeps : {false, true}) {
      const at::Tensor k = at::randn({3, 2 * 16}).to(type), v = at::randn({3, 2 * 16}).to(type);
      const at::Tensor memory = at::full({1, 2, 10, 16}, 7.0, held);
      const at::Tensor k_there = there(memory), v_there = there(memory),
                       before = there(memory.to(at::kFloat));
      const auto rows = [](const at::Tensor& x) { return x.narrow(2, 4, 3); };
      const bool done = append_on_device(there(k), there(v), table.on(device_), rows(k_there), rows(v_there),
                                         keeps ? rows(before) : at::Tensor());
      EXPECT_EQ(done, GetParam());
      if (!done) continue;
      const auto by_head = [](const at::Tensor& x) {
        return x.view({3, 2, 16}).transpose(0, 1).unsqueeze(0);
      };
      const at::Tensor turned = at::empty({3, 2, 16});
      apply_rope(k.to(at::kFloat).view({3, 2, 16}), table, turned);
      at::Tensor k_expected = memory.to(at::kFloat).clone(), v_expected = memory.clone();
      at::Tensor before_expected = memory.to(at::kFloat).clone();
      rows(k_expected).copy_(turned.transpose(0, 1).unsqueeze(0));
      rows(v_expected).copy_(by_head(v));
      if (keeps) rows(before_expected).copy_(by_head(k));
      const double rounding = held == at::kFloat ? 8 * kEpsF32 : 2.1 * kEpsBf16;
      expect_close(k_there.cpu(), k_expected, k_expected.abs().to(at::kDouble) * rounding + 4 * kEpsF32 * 4);
      expect_equal(v_there.cpu(), v_expected);
      expect_equal(before.cpu(), before_expected);
    }
  }
}

struct AttentionCase {
  int64_t batch, rows, keys, heads, kv_heads, head_dim;
};

// All rows see the first `seen` keys, and of the others themselves.
at::Tensor random_mask(int64_t rows, int64_t keys, int64_t seen) {
  at::Tensor mask = at::rand({rows, keys}).lt(0.5).to(at::kByte);
  mask.narrow(1, 0, seen).fill_(1);
  mask.diagonal(keys - rows).fill_(1);
  return mask;
}

TEST_P(DeviceOpsTest, Attention) {
  const AttentionCase cases[] = {{2, 1, 40, 6, 2, 16},   {1, 1, 700, 9, 3, 64}, {1, 3, 300, 4, 4, 80},
                                 {2, 8, 333, 8, 2, 128}, {1, 2, 90, 4, 1, 200}, {1, 1, 40, 2, 2, 16},
                                 {1, 1, 40, 4, 2, 16},   {1, 2, 90, 7, 1, 64},  {2, 30, 60, 6, 2, 16},
                                 {1, 60, 300, 8, 2, 64}};
  using Types = std::pair<at::ScalarType, at::ScalarType>;  // of queries, of keys
  for (const AttentionCase& c : cases) {
    for (const auto& [type, held] : {Types(at::kFloat, at::kFloat), Types(at::kBFloat16, at::kBFloat16),
                                     Types(at::kFloat, at::kBFloat16)}) {
      for (const bool gated : {false, true}) {
        for (const int64_t seen : {-1, 0, 24}) {  // -1: no mask
          SCOPED_TRACE(::testing::Message() << c.rows << " rows, " << c.keys << " keys, head of "
                                            << c.head_dim << ", gate " << gated << ", seen " << seen);
          const at::Tensor q = at::randn({c.batch, c.rows, c.heads * c.head_dim}).to(type);
          const std::vector<int64_t> rows = {c.batch, c.kv_heads, c.keys + 8, c.head_dim};
          const at::Tensor held_k = at::randn(rows).to(held), held_v = at::randn(rows).to(held);
          const at::Tensor k = held_k.narrow(2, 0, c.keys), v = held_v.narrow(2, 8, c.keys);
          AttentionOptions options, options_there;
          options.scale = options_there.scale = 1.0 / std::sqrt(static_cast<double>(c.head_dim));
          if (gated) {
            options.gate = at::linspace(-4.03, 2.0, c.heads);
            options.gated_keys = at::arange(c.keys).remainder(3).eq(0).to(at::kByte);
            options_there.gate = there(options.gate);
            options_there.gated_keys = there(options.gated_keys);
          }
          if (seen >= 0) {
            options.mask = random_mask(c.rows, c.keys, seen);
            options_there.mask = there(options.mask.narrow(1, seen, c.keys - seen).contiguous());
            options_there.seen_keys = seen;
          }
          const at::Tensor out = at::empty_like(there(q));
          AttentionContext context;
          attention(there(q), there(held_k).narrow(2, 0, c.keys), there(held_v).narrow(2, 8, c.keys),
                    options_there, out, context);
          expect_close(out.cpu(), attention_reference(q, k, v, options),
                       type == at::kFloat ? 64 * kEpsF32 : 4 * kEpsBf16);
        }
      }
    }
  }
}

TEST_P(DeviceOpsTest, TwoSetsOfKeysArePutTogether) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t head_dim : {20, 18}) {
      const at::Tensor a = at::randn({2, 5, 3, head_dim}).to(type),
                       b = at::randn({2, 5, 3, head_dim}).to(type);
      at::Tensor more = at::linspace(-4.0, 4.0, 2 * 3 * 5).view({2, 3, 5}), sums = at::randn({2, 3, 5});
      more[0][0][0] = -200.0;
      more[1][2][4] = 200.0;
      const at::Tensor share = at::sigmoid(more.to(at::kDouble)).transpose(1, 2).unsqueeze(-1);
      const at::Tensor expected = a.to(at::kDouble) * (1 - share) + b.to(at::kDouble) * share;
      const at::Tensor size = a.abs().to(at::kDouble) + b.abs().to(at::kDouble);
      // The difference of the sums is rounded where they are large.
      const double rounding = type == at::kFloat ? 400 * kEpsF32 : kEpsBf16;
      const at::Tensor padded = at::zeros({2, 3, 8});  // as a kernel may leave its sums
      padded.narrow(2, 0, 5).copy_(sums + more);
      for (const at::Tensor& other : {there(sums + more), there(padded).narrow(2, 0, 5)}) {
        const at::Tensor out = put_together({there(a), there(sums)}, {there(b), other});
        expect_close(out.cpu(), expected, size * rounding + 1e-7);
      }
    }
  }
}

// A row that sees nothing gets zeros, and keys of chunks that it does not see weigh nothing.
TEST_P(DeviceOpsTest, AttentionThatSeesLittle) {
  const at::Tensor q = at::randn({1, 3, 128}), k = at::randn({1, 2, 400, 64}), v = at::randn({1, 2, 400, 64});
  AttentionOptions options, options_there;
  options.mask = at::zeros({3, 400}, at::kByte);
  options.mask[1][399] = options.mask[2][0] = 1;
  options_there.mask = there(options.mask);
  const at::Tensor out = at::empty_like(there(q));
  AttentionContext context;
  attention(there(q), there(k), there(v), options_there, out, context);
  expect_equal(out.cpu()[0][0], at::zeros({128}));
  expect_close(out.cpu()[0][1], v.select(2, 399).flatten(), 4 * kEpsF32);
  expect_close(out.cpu()[0][2], v.select(2, 0).flatten(), 4 * kEpsF32);
}

}  // namespace
}  // namespace beacon::ops
