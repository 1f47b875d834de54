// Attention whose products are integers where the processor has fast ones; elsewhere it is what it was.
#include "attention_fixture.h"

namespace beacon::kernels {
namespace {

class AttentionIntegersTest : public KernelTest {
 protected:
  static bool rounds() { return GetParam().starts_with("avx"); }

  // Numbers of size 1 and heads of 64: q and k are rounded by 2^-13 of the largest of a row, which moves a
  // score by some 3e-4; weights and values by as much.
  static constexpr double kShare = 2e-3;

  void expect_right(const Case& c) {
    SCOPED_TRACE(testing::PrintToString(c));
    Problem problem(c, random_);
    Results expected(c), actual(c);
    AttentionParams p = problem.params(actual);
    p.integers = true;
    run_forward(p);
    set_isa_for_tests("reference");
    run_forward(problem.params(expected));
    set_isa_for_tests(GetParam());
    double size = 0;
    for (const float value : expected.out.values())
      size = std::max(size, std::fabs(static_cast<double>(value)));
    expect_near(actual.out.values(), expected.out.values(), [&](size_t) { return kShare * size; });
    for (size_t i = 0; i < actual.lse.size(); ++i) {
      if (std::isfinite(expected.lse[i]))
        EXPECT_NEAR(actual.lse[i], expected.lse[i], kShare) << i;
      else
        EXPECT_EQ(actual.lse[i], expected.lse[i]) << i;
    }
    EXPECT_TRUE(actual.out.padding_untouched());
  }
};
BEACON_FOR_EVERY_ISA(AttentionIntegersTest);

TEST_P(AttentionIntegersTest, ComesCloseToTheReference) {
  if (!rounds()) GTEST_SKIP() << "as without integers";
  for (const int64_t dim : {1, 7, 8, 16, 24, 64, 100, 256}) {
    expect_right({1, 1, 1, 1, dim});
    expect_right({65, 200, 9, 3, dim});
    expect_right({7, 129, 4, 4, dim});
  }
  expect_right({40, 1200, 3, 1, 64});
  expect_right({400, 450, 9, 3, 8});
}

TEST_P(AttentionIntegersTest, MasksAndBias) {
  if (!rounds()) GTEST_SKIP() << "as without integers";
  for (const auto mask : {Case::kCausal, Case::kRandom, Case::kBlocks, Case::kColumns}) {
    for (const bool bias : {false, true}) expect_right({70, 350, 6, 2, 64, DType::kF32, mask, bias});
  }
  expect_right({400, 300, 9, 3, 8, DType::kF32, Case::kBlocks, true});
  expect_right({80, 30, 2, 1, 16, DType::kF32, Case::kRandom});
}

TEST_P(AttentionIntegersTest, KeysOfEveryType) {
  const Case c{70, 200, 6, 2, 64};
  Problem problem(c, random_);
  Results wide(c), half(c);
  AttentionParams p = problem.params(wide);
  p.integers = true;
  // f32 numbers that bf16 holds exactly, with rows apart.
  const int64_t rows = c.keys * c.kv_heads * c.head_dim;
  std::vector<float> floats[2];
  std::vector<uint16_t> halves[2];
  HeadArray* const arrays[2] = {&p.k, &p.v};
  for (int i = 0; i < 2; ++i) {
    floats[i] = normal(rows);
    halves[i].resize(floats[i].size());
    reference::f32_to_bf16(floats[i].data(), halves[i].data(), rows);
    reference::bf16_to_f32(halves[i].data(), floats[i].data(), rows);
    *arrays[i] = {floats[i].data(), c.kv_heads * c.head_dim, c.head_dim, DType::kF32};
  }
  run_forward(p);
  for (int i = 0; i < 2; ++i)
    *arrays[i] = {halves[i].data(), c.kv_heads * c.head_dim, c.head_dim, DType::kBF16};
  p.out = half.out.output();
  run_forward(p);
  EXPECT_EQ(half.out.values(), wide.out.values());
}

// One key takes nearly all of what a single one can, as the first token of a text does, and thousands share
// the rest. Beside the largest of all of them each would be rounded to nothing.
TEST_P(AttentionIntegersTest, ManySmallWeightsKeepTheirShare) {
  const Case c{2, 4096, 1, 1, 16};
  Problem problem(c, random_);
  Results results(c);
  AttentionParams p = problem.params(results);
  p.integers = true;
  std::vector<float> q(32, 1.0F), k(4096 * 16, 0.0F), v(4096 * 16, 1.0F);
  std::fill_n(k.begin(), 16, 1.0F);
  std::fill_n(v.begin(), 16, 0.0F);
  p.q = {q.data(), 16, 16, DType::kF32};
  p.k = {k.data(), 16, 16, DType::kF32};
  p.v = {v.data(), 16, 16, DType::kF32};
  p.scale = 10.0F / 16;
  run_forward(p);
  const double others = 4095 * std::exp(-10.0);
  // But for the 63 in one block with it: 1.5 % of the rest.
  for (size_t i = 16; i < 32; ++i) EXPECT_NEAR(results.out.values()[i], others / (1 + others), 3e-3);
}

// Some models have keys with one number a hundred times the others (biases), turned by its position.
TEST_P(AttentionIntegersTest, OutlyingNumbersCostLessThanInBf16) {
  if (!rounds()) GTEST_SKIP() << "as without integers";
  const Case c{64, 300, 2, 1, 64};
  Problem problem(c, random_);
  Results exact(c), integers(c), half(c);
  AttentionParams p = problem.params(exact);
  auto* k = static_cast<float*>(const_cast<void*>(p.k.data));
  for (int64_t s = 0; s < c.keys; ++s)
    k[s * p.k.row_stride + 5] = 300 * std::cos(0.1F * static_cast<float>(s));
  run_forward(p);
  p.integers = true;
  p.out = integers.out.output();
  run_forward(p);
  p.integers = false;
  p.out = half.out.output();
  std::vector<uint16_t> bits(static_cast<size_t>(c.keys * p.k.row_stride));
  reference::f32_to_bf16(k, bits.data(), static_cast<int64_t>(bits.size()));
  reference::bf16_to_f32(bits.data(), k, static_cast<int64_t>(bits.size()));
  run_forward(p);
  const auto error = [&](const Results& results) {
    double sum = 0;
    const std::vector<float> expected = exact.out.values(), actual = results.out.values();
    for (size_t i = 0; i < expected.size(); ++i)
      sum += std::pow(static_cast<double>(actual[i]) - expected[i], 2);
    return sum;
  };
  EXPECT_LT(error(integers), error(half));
  EXPECT_GT(error(integers), 0);
}

TEST_P(AttentionIntegersTest, QueriesThatSeeNothing) {
  const Case c{4, 50, 2, 2, 16, DType::kF32, Case::kRandom};
  Problem problem(c, random_);
  Results results(c);
  AttentionParams p = problem.params(results);
  p.integers = true;
  run_forward(p);
  for (size_t i = 2 * 16; i < 4 * 16; ++i) EXPECT_EQ(results.out.values()[i], 0.0F);
  EXPECT_EQ(results.lse[1], INFINITY);
}

TEST_P(AttentionIntegersTest, LargeNumbersStayFinite) {
  const Case c{70, 200, 2, 1, 16};
  Problem problem(c, random_);
  Results results(c);
  AttentionParams p = problem.params(results);
  p.integers = true;
  p.scale = 1e4F;
  run_forward(p);
  for (const float value : results.out.values()) ASSERT_TRUE(std::isfinite(value));
}

// What is no number must be seen in the result: a model that has one is refused by it.
TEST_P(AttentionIntegersTest, WhatIsNoNumberStaysNone) {
  // Also where all keys share a block with some that are hidden.
  for (const Case& c : {Case{70, 200, 2, 1, 16}, Case{4, 10, 2, 1, 16}}) {
    for (int which = 0; which < 3; ++which) {
      Problem problem(c, random_);
      Results results(c);
      AttentionParams p = problem.params(results);
      p.integers = true;
      const HeadArray* const array[] = {&p.q, &p.k, &p.v};
      static_cast<float*>(const_cast<void*>(array[which]->data))[3] = NAN;
      run_forward(p);
      // Every query sees key 0.
      EXPECT_TRUE(std::isnan(results.out.values()[3])) << c << " " << which;
    }
  }
}

TEST_P(AttentionIntegersTest, TheCutIntoUnitsChangesNothing) {
  if (!rounds()) GTEST_SKIP() << "as without integers";
  const Case c{300, 600, 6, 2, 64, DType::kF32, Case::kColumns, true};
  Problem problem(c, random_);
  Results single(c), whole(c);
  AttentionParams p = problem.params(single);
  p.integers = true;
  run_forward(p);
  p.out = whole.out.output();
  p.lse = whole.lse.data();
  run_forward(p, 0, attention_forward_units(p));
  EXPECT_EQ(single.out.values(), whole.out.values());
  EXPECT_EQ(single.lse, whole.lse);
}

TEST_P(AttentionIntegersTest, ElsewhereItIsWhatItWas) {
  if (rounds()) GTEST_SKIP() << "here it rounds";
  const Case c{70, 350, 6, 2, 64};
  Problem problem(c, random_);
  Results expected(c), actual(c);
  run_forward(problem.params(expected));
  AttentionParams p = problem.params(actual);
  p.integers = true;
  run_forward(p);
  EXPECT_EQ(actual.out.values(), expected.out.values());
}

}  // namespace
}  // namespace beacon::kernels
