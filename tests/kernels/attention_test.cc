#include "kernels/attention.h"

#include <thread>

#include "attention_fixture.h"

namespace beacon::kernels {
namespace {

class AttentionTest : public KernelTest {
 protected:
  // One unit at a time, each with its own scratch of exactly the size asked for, off any alignment.
  std::vector<float> run_by_units(const AttentionProblem& problem) {
    std::vector<float> out;
    const AttentionParams p = problem.params(out);
    for (int64_t unit = attention_units(p) - 1; unit >= 0; --unit) {
      std::vector<float> scratch(static_cast<size_t>(attention_scratch_floats(p)) + 2, NAN);
      scratch.back() = 5.0F;
      attention_prefill(p, unit, unit + 1, scratch.data() + 1);
      EXPECT_EQ(scratch.back(), 5.0F);
    }
    return out;
  }
};
BEACON_FOR_EVERY_ISA(AttentionTest);

TEST_P(AttentionTest, EqualsTheReference) {
  for (const AttentionCase& c : attention_cases()) {
    SCOPED_TRACE(testing::PrintToString(c));
    const AttentionProblem problem(c, random_);
    expect_near(run_by_units(problem), problem.expected(), [&](size_t) { return problem.tolerance(); });
  }
}

TEST_P(AttentionTest, QueriesThatSeeNothingGetZeros) {
  const AttentionProblem problem({4, 50, 2, 2, 16, DType::kF32, AttentionCase::kRandom}, random_);
  std::vector<float> unused;
  const AttentionParams p = problem.params(unused);
  const auto out = run_by_units(problem);
  for (int64_t n = 0; n < 2; ++n) {
    for (int64_t h = 0; h < 16; ++h) EXPECT_EQ(out[p.out_row_stride + n * p.out_head_stride + h], 0.0F);
  }
}

TEST_P(AttentionTest, TheCutIntoUnitsAndThreadsChangesNothing) {
  for (const AttentionCase& c :
       {AttentionCase{200, 333, 6, 2, 64}, AttentionCase{130, 257, 3, 3, 40, DType::kBF16}}) {
    const AttentionProblem problem(c, random_);
    std::vector<float> whole;
    AttentionParams p = problem.params(whole);
    const int64_t units = attention_units(p);
    std::vector<float> scratch(attention_scratch_floats(p));
    attention_prefill(p, 0, units, scratch.data());
    EXPECT_EQ(run_by_units(problem), whole);

    std::vector<float> threaded;
    p = problem.params(threaded);
    std::vector<float> other_scratch(scratch.size());
    std::thread other([&] { attention_prefill(p, 0, units / 3, other_scratch.data()); });
    attention_prefill(p, units / 3, units, scratch.data());
    other.join();
    EXPECT_EQ(threaded, whole);
  }
}

TEST_P(AttentionTest, CausalEqualsItsMask) {
  const AttentionCase c{70, 190, 4, 2, 32};
  const AttentionProblem problem(c, random_);
  std::vector<uint8_t> mask(70 * 190);
  for (int64_t t = 0; t < 70; ++t) std::fill_n(mask.begin() + t * 190, 190 - 70 + t + 1, uint8_t{1});
  const auto causal = run_by_units(problem);
  std::vector<float> masked;
  AttentionParams p = problem.params(masked);
  p.mask = mask.data();
  p.mask_row_stride = 190;
  std::vector<float> scratch(attention_scratch_floats(p));
  attention_prefill(p, 0, attention_units(p), scratch.data());
  expect_near(masked, causal, [&](size_t) { return problem.tolerance(); });
}

TEST_P(AttentionTest, LargeScoresStayFinite) {
  const AttentionCase c{70, 200, 2, 1, 16};
  const AttentionProblem problem(c, random_);
  std::vector<float> out;
  AttentionParams p = problem.params(out);
  p.scale = 1e4F;
  std::vector<float> scratch(attention_scratch_floats(p));
  attention_prefill(p, 0, attention_units(p), scratch.data());
  // Nearly all weight is on the key with the largest score: results are (between) rows of values.
  for (const float value : out) {
    ASSERT_TRUE(std::isfinite(value));
    ASSERT_TRUE(value == AttentionProblem::kUntouched || std::fabs(value) < 6.0F);
  }
}

TEST_P(AttentionTest, NanInAQueryStaysInItsRow) {
  const AttentionCase c{12, 40, 2, 1, 16};
  const AttentionProblem problem(c, random_);
  const auto clean = run_by_units(problem);
  std::vector<float> out;
  AttentionParams p = problem.params(out);
  std::vector<float> q(p.q, p.q + 12 * p.q_row_stride);
  q[3 * p.q_row_stride] = NAN;
  p.q = q.data();
  std::vector<float> scratch(attention_scratch_floats(p));
  attention_prefill(p, 0, attention_units(p), scratch.data());
  for (int64_t t = 0; t < 12; ++t) {
    for (int64_t h = 0; h < 16; ++h) {
      const int64_t i = t * p.out_row_stride + h;
      if (t == 3) {
        EXPECT_TRUE(std::isnan(out[i]));
      } else {
        EXPECT_EQ(out[i], clean[i]);
      }
    }
  }
}

}  // namespace
}  // namespace beacon::kernels
