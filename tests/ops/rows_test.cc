// Operations on single rows: norms, the feed-forward gate, token rows.
#include "ops/embedding.h"
#include "ops/norm.h"
#include "ops/swiglu.h"
#include "ops/tensor_check.h"
#include "ops/weight_maker.h"

namespace beacon::ops {
namespace {

using namespace beacon::testing;

class RowsTest : public TensorTest {};

at::Tensor normed(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const at::Tensor wide = x.to(at::kDouble);
  return wide / (wide.square().mean(-1, true) + eps).sqrt() * weight;
}

TEST_F(RowsTest, RmsNorm) {
  for (const int64_t rows : {0, 1, 5, 40}) {
    const at::Tensor weight = at::randn({50});
    const at::Tensor x = at::randn({rows, 50}) * 3, y = at::empty_like(x);
    if (rows > 1) x.select(0, 1).mul_(1e-4);  // eps counts here
    const at::Tensor expected = normed(x, weight, 1e-5);
    rms_norm(x, weight, 1e-5, y);
    expect_close(y, expected, expected.abs() * 1e-6 + 1e-9);
    rms_norm(x, weight, 1e-5, x);
    expect_equal(x, y);
  }
}

TEST_F(RowsTest, AddRmsNorm) {
  for (const int64_t rows : {1, 40}) {
    const at::Tensor weight = at::randn({50});
    const at::Tensor x = at::randn({rows, 50}), residual = at::randn({rows, 50}), y = at::empty_like(x);
    const at::Tensor sum = x + residual;
    const at::Tensor again = residual.clone();
    add_rms_norm(x, residual, weight, 1e-5, y);
    expect_equal(residual, sum);
    const at::Tensor expected = normed(sum, weight, 1e-5);
    expect_close(y, expected, expected.abs() * 1e-6 + 1e-9);
    add_rms_norm(x, again, weight, 1e-5, x);
    expect_equal(x, y);
  }
}

// bf16 results are those of f32, rounded.
TEST_F(RowsTest, Bf16Activations) {
  const at::Tensor weight = at::randn({50}), x = at::randn({20, 50}),
                   branch = at::randn({20, 50}).to(at::kBFloat16);
  const at::Tensor y = at::empty_like(x), y16 = at::empty_like(branch), residual = x.clone();
  rms_norm(x, weight, 1e-5, y);
  rms_norm(x, weight, 1e-5, y16);
  expect_equal(y16, y.to(at::kBFloat16));
  add_rms_norm(branch, residual, weight, 1e-5, y16);
  expect_equal(residual, x + branch);
  rms_norm(residual, weight, 1e-5, y);
  expect_equal(y16, y.to(at::kBFloat16));
  swiglu(branch, branch, y16);
  const at::Tensor wide = branch.to(at::kFloat), out = at::empty_like(wide);
  swiglu(wide, wide, out);
  expect_equal(y16, out.to(at::kBFloat16));
}

TEST_F(RowsTest, NormRefusesWrongWeights) {
  const at::Tensor x = at::randn({2, 8});
  expect_error(ErrorCode::kInternal, "weight.numel()", [&] { rms_norm(x, at::ones({7}), 1e-5, x); });
}

TEST_F(RowsTest, Swiglu) {
  for (const int64_t rows : {0, 1, 30}) {
    const at::Tensor gate = at::randn({rows, 333}) * 4, up = at::randn({rows, 333}),
                     out = at::empty_like(gate);
    const at::Tensor wide = gate.to(at::kDouble);
    const at::Tensor expected = wide / (1 + (-wide).exp()) * up;
    swiglu(gate, up, out);
    expect_close(out, expected, expected.abs() * 2e-6 + 1e-9);
    const at::Tensor on_up = up.clone();
    swiglu(gate, on_up, on_up);
    expect_equal(on_up, out);
    swiglu(gate, up, gate);
    expect_equal(gate, out);
  }
}

TEST_F(RowsTest, EmbedReadsRowsOfEveryType) {
  for (const DType type : {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_1}) {
    const MadeWeight table = make_weight(type, at::randn({10, 64}), 1);
    const at::Tensor extra = at::randn({64}), y = at::empty({5, 64});
    const std::vector<int32_t> ids = {9, 0, 10, 3, 3};
    embed(ids, table.weight, extra, y);
    const at::Tensor rows = at::cat({table.values, extra.to(at::kDouble).unsqueeze(0)});
    const at::Tensor expected = rows.index_select(0, at::tensor({9, 0, 10, 3, 3}, at::kLong));
    expect_close(y, expected, expected.abs() * 2 * kEpsF32 + 1e-7);
    expect_equal(y[2], extra);
  }
}

TEST_F(RowsTest, EmbedRefusesIdsOutsideTheTable) {
  const MadeWeight table = make_weight(DType::kF32, at::randn({10, 4}));
  const at::Tensor extra = at::randn({4}), y = at::empty({1, 4});
  const auto lookup = [&](int32_t id, const at::Tensor& beacon) {
    embed(std::array{id}, table.weight, beacon, y);
  };
  expect_error(ErrorCode::kInvalidArgument, "token id 11 is outside the vocabulary of 10",
               [&] { lookup(11, extra); });
  expect_error(ErrorCode::kInvalidArgument, "token id -1 is outside", [&] { lookup(-1, extra); });
  expect_error(ErrorCode::kInvalidArgument, "token id 10 is outside", [&] { lookup(10, at::Tensor()); });
}

}  // namespace
}  // namespace beacon::ops
