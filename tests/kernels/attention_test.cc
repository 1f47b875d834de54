#include "kernels/attention.h"

#include <algorithm>
#include <thread>

#include "attention_fixture.h"

namespace beacon::kernels {
namespace {

void run_backward(const AttentionParams& p) {
  GuardedFloats workspace(attention_backward_workspace_floats(p));
  GuardedFloats scratch(attention_backward_scratch_floats(p));
  const int64_t rows = attention_backward_row_units(p);
  for (int64_t unit = rows - 1; unit >= 0; --unit)
    attention_backward_rows(p, unit, unit + 1, workspace.data(), scratch.data());
  for (int64_t unit = attention_backward_key_units(p) - 1; unit >= 0; --unit)
    attention_backward_keys(p, unit, unit + 1, workspace.data(), scratch.data());
  for (int64_t unit = rows - 1; unit >= 0; --unit)
    attention_backward_queries(p, unit, unit + 1, workspace.data(), scratch.data());
  attention_backward_bias(p, workspace.data());
}

// All units of a phase, cut in two that run at the same time.
template <typename Phase>
void in_two_threads(int64_t units, int64_t scratch_floats, const Phase& phase) {
  GuardedFloats first(scratch_floats);
  GuardedFloats second(scratch_floats);
  std::thread other([&] { phase(0, units / 3, first.data()); });
  phase(units / 3, units, second.data());
  other.join();
}

void run_threaded(const AttentionParams& p) {
  GuardedFloats workspace(attention_backward_workspace_floats(p));
  float* work = workspace.data();
  const int64_t floats = attention_backward_scratch_floats(p);
  in_two_threads(attention_forward_units(p), attention_forward_scratch_floats(p),
                 [&](int64_t a, int64_t b, float* s) { attention_forward(p, a, b, s); });
  in_two_threads(attention_backward_row_units(p), floats,
                 [&](int64_t a, int64_t b, float* s) { attention_backward_rows(p, a, b, work, s); });
  in_two_threads(attention_backward_key_units(p), floats,
                 [&](int64_t a, int64_t b, float* s) { attention_backward_keys(p, a, b, work, s); });
  in_two_threads(attention_backward_row_units(p), floats,
                 [&](int64_t a, int64_t b, float* s) { attention_backward_queries(p, a, b, work, s); });
  attention_backward_bias(p, work);
}

class AttentionTest : public KernelTest {
 protected:
  // The twin runs its own table only for what depends on the instruction set.
  void expect(Problem& problem, const Case& c, Results& expected) {
    const std::string_view isa = GetParam();
    set_isa_for_tests("reference");
    const AttentionParams p = problem.params(expected);
    run_forward(p);
    run_backward(p);
    set_isa_for_tests(isa);
    (void)c;
  }

  // Every element within a share of the largest one: f32 sums of some hundred terms, or weights and gradients
  // of scores rounded to bf16 (2^-9 each, and of either sign) and a rounded result (2^-9). One wrong or
  // missing key in a few hundred moves a row of dk or dv altogether and the others by a twentieth.
  void expect_near_in(const Case& c, const std::vector<float>& actual, const std::vector<float>& expected,
                      double floor = 0) {
    double size = floor;
    for (const float value : expected) {
      if (std::isfinite(value)) size = std::max(size, std::fabs(static_cast<double>(value)));
    }
    const double share = c.type == DType::kBF16 ? 3 * 0x1p-8 : 1e-5;
    expect_near(actual, expected, [&](size_t) { return share * size + 1e-30; });
  }

  void expect_right(const Case& c) {
    SCOPED_TRACE(testing::PrintToString(c));
    Problem problem(c, random_);
    Results expected(c), actual(c);
    expect(problem, c, expected);
    const AttentionParams p = problem.params(actual);
    run_forward(p);
    expect_near_in(c, actual.out.values(), expected.out.values());
    for (size_t i = 0; i < actual.lse.size(); ++i) {
      // Scores of size 8 at most, summed and logged in f32; weights below are not rounded for it.
      if (std::isfinite(expected.lse[i]))
        EXPECT_NEAR(actual.lse[i], expected.lse[i], 1e-5) << i;
      else
        EXPECT_EQ(actual.lse[i], expected.lse[i]) << i;
    }
    run_backward(p);
    // A softmax over one key has no gradient: what cancels there has the size of its terms.
    const double terms = std::sqrt(static_cast<double>(c.head_dim)) / 4;
    expect_near_in(c, actual.dq.values(), expected.dq.values(), terms);
    expect_near_in(c, actual.dk.values(), expected.dk.values(), terms);
    expect_near_in(c, actual.dv.values(), expected.dv.values());
    if (c.bias) expect_near_in(c, actual.dbias, expected.dbias, std::sqrt(static_cast<double>(c.queries)));
    for (const Array* array : {&actual.out, &actual.dq, &actual.dk, &actual.dv})
      EXPECT_TRUE(array->padding_untouched());
  }
};
BEACON_FOR_EVERY_ISA(AttentionTest);

TEST_P(AttentionTest, EqualsTheReference) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    expect_right({1, 1, 1, 1, 8, type});
    expect_right({5, 5, 2, 1, 16, type});
    expect_right({64, 64, 3, 3, 64, type});
    expect_right({65, 200, 9, 3, 64, type});
    expect_right({7, 129, 4, 4, 32, type});
    expect_right({130, 131, 2, 1, 24, type});
    expect_right({9, 64, 4, 1, 256, type});
    expect_right({3, 70, 2, 2, 1, type});
    expect_right({6, 90, 4, 2, 7, type});
    expect_right({17, 65, 3, 1, 100, type});
    // Keys in several units.
    expect_right({40, 1200, 3, 1, 16, type, Case::kCausal, true});
    // Several blocks of rows in a unit, of which the last has fewer.
    expect_right({400, 450, 9, 3, 8, type});
  }
}

TEST_P(AttentionTest, MasksAndBias) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    for (const auto mask : {Case::kCausal, Case::kRandom, Case::kBlocks, Case::kColumns}) {
      for (const bool bias : {false, true}) expect_right({70, 350, 6, 2, 16, type, mask, bias});
    }
    expect_right({400, 300, 9, 3, 8, type, Case::kBlocks, true});
    // With a mask there may be more queries than keys.
    expect_right({80, 30, 2, 1, 16, type, Case::kRandom});
  }
}

// Keys and values in blocks of bytes, against the numbers they stand for; the blocks hold those exactly.
TEST_P(AttentionTest, BlocksAreTheNumbersTheyStandFor) {
  for (const auto& [type, integers] :
       {std::pair(DType::kF32, false), std::pair(DType::kBF16, false), std::pair(DType::kF32, true)}) {
    for (const auto mask : {Case::kCausal, Case::kRandom, Case::kColumns}) {
      const Case c{70, 200, 6, 2, 64, type, mask, true};
      Problem problem(c, random_);
      Results expected(c), actual(c);
      AttentionParams p = problem.params(expected);
      std::vector<std::byte> blocks[2];
      std::vector<float> wide[2];
      std::vector<uint16_t> half[2];
      HeadArray* const arrays[2] = {&p.k, &p.v};
      HeadArray as_blocks[2];
      const int64_t rows = c.keys * c.kv_heads, row_bytes = c.head_dim / 32 * 34;
      for (int i = 0; i < 2; ++i) {
        wide[i] = normal(rows * c.head_dim);
        // Steps of 1 / 8 are exact in bf16, 15.875 in every block makes them the block's as well.
        for (size_t j = 0; j < wide[i].size(); ++j)
          wide[i][j] = j % 32 == 0 ? 15.875F : std::round(8 * wide[i][j]) / 8;
        blocks[i].resize(static_cast<size_t>(rows * row_bytes));
        half[i].resize(wide[i].size());
        reference::f32_to_bf16(wide[i].data(), half[i].data(), rows * c.head_dim);
        for (int64_t r = 0; r < rows; ++r)
          reference::quantize_row_q8_0(wide[i].data() + r * c.head_dim, blocks[i].data() + r * row_bytes,
                                       c.head_dim);
        std::vector<float> back(wide[i].size());
        reference::dequantize_row(DType::kQ8_0, blocks[i].data(), back.data(), rows * c.head_dim);
        ASSERT_EQ(back, wide[i]);
        *arrays[i] = {type == DType::kBF16 ? static_cast<const void*>(half[i].data()) : wide[i].data(),
                      c.kv_heads * c.head_dim, c.head_dim, type};
        as_blocks[i] = {blocks[i].data(), c.kv_heads * row_bytes, row_bytes, DType::kQ8_0};
      }
      p.scale /= 16;
      p.integers = integers;
      run_forward(p);
      p.k = as_blocks[0];
      p.v = as_blocks[1];
      p.out = actual.out.output();
      p.lse = actual.lse.data();
      run_forward(p);
      EXPECT_EQ(actual.lse, expected.lse);
      EXPECT_EQ(actual.out.values(), expected.out.values());
    }
  }
}

TEST_P(AttentionTest, KeysThatAllSeeNeedNoLookAtTheMask) {
  for (const bool integers : {false, true}) {
    const Case c{70, 350, 6, 2, 16, DType::kF32, Case::kRandom, true};
    Problem problem(c, random_);
    Results expected(c), actual(c);
    AttentionParams p = problem.params(expected);
    p.integers = integers;
    std::vector<uint8_t> mask(p.mask, p.mask + c.queries * p.mask_row_stride);
    p.mask = mask.data();
    const auto show = [&](uint8_t seen) {
      for (int64_t t = 0; t < c.queries; ++t) std::fill_n(mask.begin() + t * p.mask_row_stride, 150, seen);
    };
    show(1);
    run_forward(p);
    // What lies in whole blocks before the 150th is not read; the rest of that block is.
    show(0);
    for (int64_t t = 0; t < c.queries; ++t) std::fill_n(mask.begin() + t * p.mask_row_stride + 128, 22, 1);
    p.seen_keys = 150;
    p.out = actual.out.output();
    p.lse = actual.lse.data();
    if (GetParam() == "reference") show(1);
    run_forward(p);
    EXPECT_EQ(actual.out.values(), expected.out.values());
    EXPECT_EQ(actual.lse, expected.lse);
  }
}

TEST_P(AttentionTest, QueriesThatSeeNothing) {
  const Case c{4, 50, 2, 2, 16, DType::kF32, Case::kRandom};
  Problem problem(c, random_);
  Results results(c);
  const AttentionParams p = problem.params(results);
  run_forward(p);
  run_backward(p);
  for (int64_t i = 2 * 16; i < 4 * 16; ++i) {
    EXPECT_EQ(results.out.values()[static_cast<size_t>(i)], 0.0F);
    EXPECT_EQ(results.dq.values()[static_cast<size_t>(i)], 0.0F);
  }
  EXPECT_EQ(results.lse[1], INFINITY);
}

TEST_P(AttentionTest, TheCutIntoUnitsAndThreadsChangesNothing) {
  for (const DType type : {DType::kF32, DType::kBF16}) {
    const Case c{90, 600, 6, 2, 16, type, Case::kCausal, true};
    Problem problem(c, random_);
    Results single(c), threaded(c);
    const AttentionParams p = problem.params(single);
    run_forward(p);
    run_backward(p);
    run_threaded(problem.params(threaded));
    EXPECT_EQ(single.lse, threaded.lse);
    EXPECT_EQ(single.dbias, threaded.dbias);
    EXPECT_EQ(single.out.values(), threaded.out.values());
    EXPECT_EQ(single.dq.values(), threaded.dq.values());
    EXPECT_EQ(single.dk.values(), threaded.dk.values());
    EXPECT_EQ(single.dv.values(), threaded.dv.values());
  }
}

// A pair of very large scores: the weights are 0 and 1, nothing overflows.
TEST_P(AttentionTest, LargeScoresStayFinite) {
  const Case c{70, 200, 2, 1, 16};
  Problem problem(c, random_);
  Results results(c);
  AttentionParams p = problem.params(results);
  p.scale = 1e4F;
  run_forward(p);
  run_backward(p);
  for (const Array* array : {&results.out, &results.dq, &results.dk, &results.dv}) {
    for (const float value : array->values()) ASSERT_TRUE(std::isfinite(value));
  }
}

// The slow twin's gradients, by differences of its own forward pass.
TEST(AttentionReferenceTest, GradientsByCentralDifferences) {
  set_isa_for_tests("reference");
  std::mt19937 random(3);
  const Case c{3, 6, 4, 2, 5, DType::kF32, Case::kCausal, true};
  Problem problem(c, random);
  Results results(c), moved(c);
  const AttentionParams p = problem.params(results);
  run_forward(p);
  run_backward(p);
  const auto objective = [&] {
    const AttentionParams again = problem.params(moved);
    run_forward(again);
    double sum = 0;
    for (int64_t t = 0; t < 3; ++t) {
      for (int64_t n = 0; n < 4; ++n) {
        for (int64_t h = 0; h < 5; ++h) {
          const int64_t at = t * p.dout.row_stride + n * p.dout.head_stride + h;
          sum +=
              static_cast<double>(static_cast<const float*>(p.dout.data)[at]) *
              static_cast<float*>(again.out.data)[t * again.out.row_stride + n * again.out.head_stride + h];
        }
      }
    }
    return sum;
  };
  // Sums of 60 values rounded at 2^-24 over the step, and the third derivative times its square.
  const auto expect_slope = [&](float& value, float gradient) {
    const float before = value;
    value = before + 0x1p-7F;
    const double above = objective();
    value = before - 0x1p-7F;
    const double below = objective();
    value = before;
    EXPECT_NEAR(gradient, (above - below) / 0x1p-6, 1e-3);
  };
  for (const int64_t i : {0, 9, 17}) {
    const auto at = [&](const HeadArray& x, int64_t heads) {
      return i / (heads * 5) * x.row_stride + i / 5 % heads * x.head_stride + i % 5;
    };
    const auto element = [](const HeadArray& x, int64_t index) -> float& {
      return static_cast<float*>(const_cast<void*>(x.data))[index];
    };
    expect_slope(element(p.q, at(p.q, 4)), results.dq.values()[static_cast<size_t>(i)]);
    expect_slope(element(p.k, at(p.k, 2)), results.dk.values()[static_cast<size_t>(i)]);
    expect_slope(element(p.v, at(p.v, 2)), results.dv.values()[static_cast<size_t>(i)]);
  }
  for (size_t n = 0; n < 4; ++n) expect_slope(const_cast<float*>(p.head_bias)[n], results.dbias[n]);
  choose_isa();
}

}  // namespace
}  // namespace beacon::kernels
