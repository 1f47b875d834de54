#include "kernels/convert.h"
#include "kernels/linear.h"
#include "linear_fixture.h"

namespace beacon::kernels {
namespace {

constexpr DType kTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1};

class LinearQ8Test : public KernelTest {
 protected:
  std::vector<Q8Block> quantize(const std::vector<float>& x) {
    std::vector<Q8Block> blocks(x.size() / 32);
    quantize_activations_q8(x.data(), blocks.data(), static_cast<int64_t>(x.size()));
    return blocks;
  }
};
BEACON_FOR_EVERY_ISA(LinearQ8Test);

TEST_P(LinearQ8Test, QuantisesWithinHalfAStep) {
  auto x = normal(32 * 40);
  for (size_t i = 32; i < 64; ++i) x[i] = 0;
  for (size_t i = 64; i < 96; ++i) x[i] *= 1e-36F;
  for (size_t i = 96; i < 128; ++i) x[i] *= 1e30F;
  const auto blocks = quantize(x);
  for (size_t b = 0; b < blocks.size(); ++b) {
    int sum = 0;
    int largest = 0;
    for (size_t i = 0; i < 32; ++i) {
      const int q = blocks[b].q[i];
      sum += q;
      largest = std::max(largest, std::abs(q));
      // Half a step, plus the rounding of x / scale.
      ASSERT_NEAR(x[32 * b + i], static_cast<double>(blocks[b].scale) * q, blocks[b].scale * 0.50002 + 1e-30)
          << b << " " << i;
    }
    EXPECT_EQ(largest, b == 1 || b == 2 ? 0 : 127) << b;
    EXPECT_NEAR(blocks[b].sum, static_cast<double>(blocks[b].scale) * sum,
                std::fabs(blocks[b].sum) * 2 * kEps);
  }
}

TEST_P(LinearQ8Test, BlocksWithoutNumbersShow) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    auto x = normal(64);
    x[37] = bad;
    const auto blocks = quantize(x);
    EXPECT_FALSE(std::isnan(blocks[0].scale));
    EXPECT_TRUE(std::isnan(blocks[1].scale));
    EXPECT_TRUE(std::isnan(blocks[1].sum));
  }
}

// The integer products are exact; what is left is f32 rounding of the block sums, whose sizes add up to at
// most sum |w| |x| (with the minima of Q4_1 and the 8 of Q4_0 counted apart).
TEST_P(LinearQ8Test, EqualsTheReferenceOnTheSameBlocks) {
  for (const DType type : kTypes) {
    for (const int64_t rows : {1, 2, 3, 4, 7, 16}) {
      const int64_t in = 576;
      const int64_t out = 6;
      const WeightRows weights = random_weights(type, out, in, random_);
      const auto x = quantize(normal(rows * in));
      const auto bias = normal(out);
      std::vector<float> y(rows * (out + 1), 0.5F);
      std::vector<float> expected = y;
      LinearQ8Params p{.weight_type = type,
                       .weight = weights.bytes.data(),
                       .weight_row_bytes = weights.row_bytes,
                       .x = x.data(),
                       .x_stride = in / 32,
                       .bias = bias.data(),
                       .y = y.data(),
                       .y_stride = out + 1,
                       .rows = rows,
                       .in = in,
                       .accumulate = rows == 3};
      linear_rows_q8(p, 0, 4);
      linear_rows_q8(p, 4, out);
      p.y = expected.data();
      reference::linear_rows_q8(p, 0, out);
      double size = 0;
      for (int64_t i = 0; i < in; ++i) size += (std::fabs(weights.values(0)[i]) + 1.0) * 2.0;
      SCOPED_TRACE(testing::Message() << dtype_info(type).name << " rows " << rows);
      expect_near(y, expected, [&](size_t) { return 16 * kEps * size; });
    }
  }
}

TEST_P(LinearQ8Test, StaysWithinItsBoundOfTheUnroundedProduct) {
  for (const DType type : kTypes) {
    const int64_t in = 1536;
    const WeightRows weights = random_weights(type, 20, in, random_);
    const auto x = normal(in);
    const auto blocks = quantize(x);
    for (int64_t o = 0; o < weights.out; ++o) {
      const auto w = weights.values(o);
      double exact = 0;
      double bound = 0;
      for (int64_t i = 0; i < in; ++i) {
        exact += static_cast<double>(w[i]) * x[i];
        bound += blocks[i / 32].scale / 2.0 * std::fabs(w[i]) + 16 * kEps * std::fabs(w[i] * x[i]);
      }
      float y = 0;
      linear_rows_q8({.weight_type = type,
                      .weight = weights.row(o),
                      .weight_row_bytes = weights.row_bytes,
                      .x = blocks.data(),
                      .x_stride = in / 32,
                      .y = &y,
                      .y_stride = 1,
                      .rows = 1,
                      .in = in},
                     0, 1);
      ASSERT_LE(std::fabs(y - exact), bound);
      // Random errors mostly cancel: a bound that needs all of them would hide a bug.
      ASSERT_LE(std::fabs(y - exact), bound / 4);
    }
  }
}

TEST_P(LinearQ8Test, LargestBytesDoNotOverflow) {
  // The smallest weight byte, -128, times activations of full size in every element.
  std::vector<std::byte> row(34, std::byte{0x80});
  const uint16_t one = 0x3C00;
  std::memcpy(row.data(), &one, sizeof one);
  for (const float value : {1.0F, -1.0F}) {
    const auto x = quantize(std::vector<float>(32, value));
    float y = 0;
    linear_rows_q8({.weight_type = DType::kQ8_0,
                    .weight = row.data(),
                    .weight_row_bytes = 34,
                    .x = x.data(),
                    .x_stride = 1,
                    .y = &y,
                    .y_stride = 1,
                    .rows = 1,
                    .in = 32},
                   0, 1);
    EXPECT_NEAR(y, -128.0 * 32 * value, 4096 * 4 * kEps);
  }
}

}  // namespace
}  // namespace beacon::kernels
