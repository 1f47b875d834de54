#include "ops/linear.h"

#include "kernels/linear.h"
#include "ops/tensor_check.h"
#include "ops/weight_maker.h"

namespace beacon::ops {
namespace {

using namespace beacon::testing;

constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kQ8_0, DType::kQ4_1};

class LinearTest : public TensorTest {
 protected:
  at::Tensor run(const at::Tensor& x, const Weight& weight) {
    at::Tensor y = at::full({x.size(0), weight.out}, NAN);
    linear(x, weight, y, context_);
    return y;
  }

  LinearContext context_;
};

at::Tensor exact(const at::Tensor& x, const MadeWeight& w) {
  const at::Tensor y = at::mm(x.to(at::kDouble), w.values.t());
  return w.weight.bias.defined() ? y + w.weight.bias : y;
}

// f32 sums of I products in any order, the bound of Higham 2002, section 3.1.
at::Tensor f32_tolerance(const at::Tensor& x, const MadeWeight& w) {
  const at::Tensor magnitude = at::mm(x.to(at::kDouble).abs(), w.values.abs().t());
  return (magnitude + 1.0) * (static_cast<double>(x.size(1) + 4) * kEpsF32);
}

TEST_F(LinearTest, EveryTypeAndNumberOfRowsGivesTheExactProduct) {
  for (const DType type : kTypes) {
    for (const bool biased : {false, true}) {
      MadeWeight w = make_weight(type, at::randn({37, 96}));
      if (biased) w.weight.bias = at::randn({37});
      for (const int64_t rows : {int64_t{1}, int64_t{2}, kFewRows, kFewRows + 1, int64_t{40}}) {
        SCOPED_TRACE(::testing::Message()
                     << dtype_info(type).name << ", rows " << rows << ", bias " << biased);
        const at::Tensor x = at::randn({rows, 96});
        expect_close(run(x, w.weight), exact(x, w), f32_tolerance(x, w));
        expect_close(linear_reference(x, w.weight), exact(x, w), f32_tolerance(x, w));
      }
    }
  }
}

TEST_F(LinearTest, Bf16ComputeRoundsOperandsAndResult) {
  context_.compute = at::kBFloat16;
  for (const DType type : kTypes) {
    SCOPED_TRACE(dtype_info(type).name);
    MadeWeight w = make_weight(type, at::randn({37, 96}));
    const at::Tensor x = at::randn({40, 96});
    const at::Tensor y = run(x, w.weight);
    const at::Tensor expected = exact(x, w);
    // x, w and y are rounded by at most kEpsBf16 of their size each; the errors of the terms are independent,
    // so in the mean they add as squares: sqrt(3) kEpsBf16 at most.
    const double error = ((y - expected).norm() / expected.norm()).item<double>();
    EXPECT_LE(error, 2 * kEpsBf16);
    EXPECT_GT(error, kEpsBf16 / 16) << "not computed in bf16";
    const at::Tensor magnitude = at::mm(x.to(at::kDouble).abs(), w.values.abs().t());
    expect_close(y, expected, magnitude * (2.1 * kEpsBf16) + expected.abs() * kEpsBf16);

    w.weight.bias = at::randn({37});  // added in f32
    expect_close(run(x, w.weight), y.to(at::kDouble) + w.weight.bias, expected.abs() * 4 * kEpsF32 + 1e-6);
  }
}

// Rounded inputs and results, for few rows and many.
TEST_F(LinearTest, Bf16InAndOut) {
  context_.compute = at::kBFloat16;
  for (const bool biased : {false, true}) {
    MadeWeight w = make_weight(DType::kQ4_1, at::randn({37, 96}));
    if (biased) w.weight.bias = at::randn({37});
    for (const int64_t rows : {int64_t{3}, int64_t{40}}) {
      const at::Tensor x16 = at::randn({rows, 96}).to(at::kBFloat16), x = x16.to(at::kFloat);
      const at::Tensor y16 = at::full({rows, 37}, NAN, at::kBFloat16);
      linear(x16, w.weight, y16, context_);
      const at::Tensor y = run(x, w.weight);  // of the same numbers
      expect_close(y16, y, y.abs() * kEpsBf16 + 1e-6);
      const at::Tensor wide = at::full({rows, 37}, NAN);
      linear(x16, w.weight, wide, context_);
      expect_equal(wide, y);
    }
  }
}

// A low-rank part counts as if it were in the matrix; the matrix itself stays as it is.
TEST_F(LinearTest, ALowRankPartIsAddedToTheMatrix) {
  for (const DType type : kTypes) {
    MadeWeight w = make_weight(type, at::randn({37, 96}));
    w.weight.bias = at::randn({37});
    w.weight.low_rank = {at::randn({5, 96}), at::randn({37, 5}), 0.25};
    const at::Tensor plain_values = w.values;
    const at::Tensor a = w.weight.low_rank.a.to(at::kDouble), b = w.weight.low_rank.b.to(at::kDouble);
    w.values = plain_values + 0.25 * at::mm(b, a);
    // The magnitudes of all terms, and the additions of the outer product.
    MadeWeight magnitude = w;
    magnitude.values = plain_values.abs() + 0.25 * at::mm(b.abs(), a.abs());
    for (const int64_t rows : {int64_t{1}, kFewRows, kFewRows + 1, int64_t{40}}) {
      SCOPED_TRACE(::testing::Message() << dtype_info(type).name << ", rows " << rows);
      const at::Tensor x = at::randn({rows, 96});
      const at::Tensor tolerance = 2 * f32_tolerance(x, magnitude);
      expect_close(run(x, w.weight), exact(x, w), tolerance);
      expect_close(linear_reference(x, w.weight), exact(x, w), tolerance);
    }
    expect_close(expand(w.weight, at::kFloat), w.values, magnitude.values * 8 * kEpsF32 + 1e-6);
    expect_close(expand(w.weight, at::kBFloat16), w.values, w.values.abs() * 1.01 * kEpsBf16 + 1e-5);

    // Many rows in bf16: besides what the product of the matrix loses, x, A and x A^T are rounded.
    context_.compute = at::kBFloat16;
    const at::Tensor x = at::randn({40, 96});
    const double error = ((run(x, w.weight) - exact(x, w)).norm() / exact(x, w).norm()).item<double>();
    EXPECT_LE(error, 2 * kEpsBf16);
    EXPECT_GT(error, kEpsBf16 / 16) << "not computed in bf16";
    context_.compute = at::kFloat;
  }
}

TEST_F(LinearTest, ALowRankPartMustFit) {
  MadeWeight w = make_weight(DType::kF32, at::randn({8, 32}));
  w.weight.low_rank = {at::randn({5, 31}), at::randn({8, 5}), 1.0};
  expect_error(ErrorCode::kInternal, "low_rank", [&] { run(at::randn({3, 32}), w.weight); });
}

// x as blocks of 32 rounded to 15 bits: the largest of a block becomes 16256.
at::Tensor rounded_to_blocks(const at::Tensor& x) {
  const at::Tensor blocks = x.to(at::kDouble).view({x.size(0), -1, 32});
  const at::Tensor scale = blocks.abs().amax(-1, /*keepdim=*/true) / 16256;
  return (at::round(blocks / scale) * scale).view(x.sizes());
}

// With bf16 few rows, with integers all.
TEST_F(LinearTest, ActivationsOfQuantisedWeightsAreRoundedTo15Bits) {
  for (const DType type : {DType::kQ8_0, DType::kQ4_1}) {
    for (const int64_t rows : {int64_t{1}, int64_t{5}, kernels::most_rows_q15(), kernels::most_rows_q15() + 2,
                               kFewRows, kFewRows + 1, int64_t{40}}) {
      SCOPED_TRACE(::testing::Message() << dtype_info(type).name << ", rows " << rows);
      context_.integers = rows % 2 == 0 || rows > kFewRows;
      context_.compute = context_.integers ? at::kFloat : at::kBFloat16;
      MadeWeight w = make_weight(type, at::randn({37, 96}));
      if (context_.integers) w.weight.bias = at::randn({37});
      const at::Tensor x = at::randn({rows, 96});
      const at::Tensor y = run(x, w.weight);
      // A step is the largest / 16256, which of 32 normal numbers is about 2.1: each is off by 3.7e-5 in the
      // mean square, as the whole is by 3.7e-5 of its size. What is left against the rounded x is f32, and
      // a few x whose quotient, taken in f32, fell on the other side of a half.
      const at::Tensor expected = exact(x, w), rounded = exact(rounded_to_blocks(x), w);
      const double error = ((y - expected).norm() / expected.norm()).item<double>();
      EXPECT_LE(error, 2 * 3.7e-5);
      EXPECT_GT(error, 3.7e-5 / 4) << "not rounded";
      EXPECT_LE(((y - rounded).norm() / expected.norm()).item<double>(), 3.7e-5 / 4);
    }
  }
}

TEST_F(LinearTest, FewRowsOfPlainWeightsAreComputedInF32WhateverTheComputeType) {
  context_.compute = at::kBFloat16;
  for (const DType type : {DType::kF32, DType::kBF16}) {
    const MadeWeight w = make_weight(type, at::randn({37, 96}));
    const at::Tensor x = at::randn({kFewRows, 96});
    expect_close(run(x, w.weight), exact(x, w), f32_tolerance(x, w));
  }
}

// Weights of so many bytes that the threads share them, cut anywhere.
TEST_F(LinearTest, AGroupGivesTheBitsOfItsParts) {
  std::vector<MadeWeight> made;
  for (const DType type : {DType::kQ4_1, DType::kQ8_0, DType::kBF16}) {
    for (const int64_t out : {1, 301, 1202}) made.push_back(make_weight(type, at::randn({out, 288})));
  }
  made[1].weight.bias = at::randn({301});
  for (const bool integers : {false, true}) {
    for (const int64_t rows : {int64_t{1}, kernels::most_rows_q15() + 1, kFewRows, kFewRows + 1}) {
      context_.integers = integers;
      context_.compute = integers || rows % 2 == 0 ? at::kFloat : at::kBFloat16;
      SCOPED_TRACE(::testing::Message()
                   << context_.compute << ", integers " << integers << ", rows " << rows);
      const at::Tensor x = at::randn({rows, 288});
      std::vector<LinearTarget> targets;
      for (const MadeWeight& each : made) {
        targets.push_back({&each.weight, at::full({rows, each.weight.out}, NAN)});
      }
      linear_group(x, targets, context_);
      for (const LinearTarget& target : targets) expect_equal(target.y, run(x, *target.weight));
      linear_group(x, {}, context_);
    }
  }
}

TEST_F(LinearTest, TheWeightMayLieAtAnyAddress) {
  for (const DType type : kTypes) {
    for (const int arithmetic : {0, 1, 2}) {
      context_.compute = arithmetic == 1 ? at::kBFloat16 : at::kFloat;
      context_.integers = arithmetic == 2;
      const at::Tensor values = at::randn({24, 64});
      for (const size_t offset : {1, 3}) {
        SCOPED_TRACE(::testing::Message() << dtype_info(type).name << ", offset " << offset);
        for (const int64_t rows : {3, 20}) {
          const at::Tensor x = at::randn({rows, 64});
          expect_equal(run(x, make_weight(type, values, offset).weight),
                       run(x, make_weight(type, values).weight));
        }
      }
    }
  }
}

TEST_F(LinearTest, RowsMayBeFurtherApartThanTheyAreLong) {
  for (const at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
    context_.compute = compute;
    const MadeWeight w = make_weight(DType::kQ4_1, at::randn({16, 32}));
    for (const int64_t rows : {3, 20}) {
      const at::Tensor x = at::randn({rows, 80}).narrow(1, 7, 32);
      const at::Tensor wide = at::full({rows, 40}, 5.0F);
      linear(x, w.weight, wide.narrow(1, 10, 16), context_);
      expect_close(wide.narrow(1, 10, 16), run(x.contiguous(), w.weight), 1e-5);
      expect_equal(wide.narrow(1, 0, 10), at::full({rows, 10}, 5.0F));
      expect_equal(wide.narrow(1, 26, 14), at::full({rows, 14}, 5.0F));
    }
  }
}

// The same scratch serves weights of other sizes and types.
TEST_F(LinearTest, ContextIsReusedBetweenShapes) {
  const MadeWeight small = make_weight(DType::kQ8_0, at::randn({8, 32}));
  const MadeWeight large = make_weight(DType::kQ4_1, at::randn({50, 128}));
  for (int round = 0; round < 2; ++round) {
    const at::Tensor xs = at::randn({20, 32}), xl = at::randn({30, 128});
    expect_close(run(xs, small.weight), exact(xs, small), f32_tolerance(xs, small));
    expect_close(run(xl, large.weight), exact(xl, large), f32_tolerance(xl, large));
  }
}

TEST_F(LinearTest, NoRowsIsNoWork) {
  const MadeWeight w = make_weight(DType::kQ8_0, at::randn({8, 32}));
  EXPECT_EQ(run(at::empty({0, 32}), w.weight).sizes().vec(), (std::vector<int64_t>{0, 8}));
}

TEST_F(LinearTest, WrongShapesAreRefused) {
  const MadeWeight w = make_weight(DType::kF32, at::randn({8, 32}));
  expect_error(ErrorCode::kInternal, "weight.in", [&] { run(at::randn({3, 31}), w.weight); });
  expect_error(ErrorCode::kInternal, "y.size(1)", [&] {
    linear(at::randn({3, 32}), w.weight, at::empty({3, 7}), context_);
  });
  expect_error(ErrorCode::kInternal, "stride", [&] { run(at::randn({32, 20}).t(), w.weight); });
}

TEST_F(LinearTest, ExpandGivesWhatTheBlocksHold) {
  for (const DType type : kTypes) {
    SCOPED_TRACE(dtype_info(type).name);
    const MadeWeight w = make_weight(type, at::randn({9, 64}), 1);
    expect_close(expand(w.weight, at::kFloat), w.values, w.values.abs() * 2 * kEpsF32 + 1e-7);
    expect_close(expand(w.weight, at::kBFloat16), w.values, w.values.abs() * 1.01 * kEpsBf16 + 1e-7);
    EXPECT_EQ(expand(w.weight, at::kBFloat16).scalar_type(), at::kBFloat16);
  }
}

}  // namespace
}  // namespace beacon::ops
