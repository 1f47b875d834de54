#include "kernels/convert.h"
#include "kernels/linear.h"
#include "linear_fixture.h"

namespace beacon::kernels {
namespace {

constexpr DType kTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                            DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

int64_t groups_of(int64_t in) { return (in + 127) / 128; }

// Element i of block b, counted from the first group on.
int q_at(const std::vector<Q15Group>& groups, size_t b, size_t i) {
  const Q15Group& group = groups[b / 4];
  const size_t at = b % 4 * 16 + i % 16;
  EXPECT_GE(group.low[i / 16][at], -64);
  EXPECT_LT(group.low[i / 16][at], 64);
  EXPECT_GE(group.high[i / 16][at], -127);
  return 128 * group.high[i / 16][at] + group.low[i / 16][at];
}
float scale_at(const std::vector<Q15Group>& groups, size_t b) { return groups[b / 4].scale[b % 4 * 4]; }

class LinearQ15Test : public KernelTest {
 protected:
  // Rows of `in` values each.
  std::vector<Q15Group> quantize(const std::vector<float>& x, int64_t in) {
    std::vector<Q15Group> groups(x.size() / static_cast<size_t>(in) * static_cast<size_t>(groups_of(in)));
    for (auto& group : groups) std::memset(static_cast<void*>(&group), 0x55, sizeof group);
    for (int64_t r = 0; r < static_cast<int64_t>(x.size()) / in; ++r) {
      quantize_activations_q15(x.data() + r * in, groups.data() + r * groups_of(in), in);
    }
    return groups;
  }
  std::vector<Q15Group> quantize(const std::vector<float>& x) {
    return quantize(x, static_cast<int64_t>(x.size()));
  }
};
BEACON_FOR_EVERY_ISA(LinearQ15Test);

TEST_P(LinearQ15Test, QuantisesWithinHalfAStep) {
  auto x = normal(32 * 40);
  for (size_t i = 32; i < 64; ++i) x[i] = 0;
  for (size_t i = 64; i < 96; ++i) x[i] *= 1e-36F;
  for (size_t i = 96; i < 128; ++i) x[i] *= 1e30F;
  const auto groups = quantize(x);
  for (size_t b = 0; b < 40; ++b) {
    double sum = 0;
    int largest = 0;
    const float scale = scale_at(groups, b);
    for (size_t i = 0; i < 32; ++i) {
      const int q = q_at(groups, b, i);
      sum += q;
      largest = std::max(largest, std::abs(q));
      // Half a step, plus the rounding of x / scale (16256 steps at most, three roundings).
      ASSERT_NEAR(x[32 * b + i], static_cast<double>(scale) * q, scale * (0.5 + 16256 * 4 * kEps) + 1e-30)
          << b << " " << i;
    }
    EXPECT_EQ(largest, b == 1 || b == 2 ? 0 : 16256) << b;
    for (size_t j = 0; j < 4; ++j) {
      EXPECT_EQ(groups[b / 4].scale[b % 4 * 4 + j], scale);
      sum -= groups[b / 4].sums[b % 4 * 4 + j];
    }
    EXPECT_EQ(sum, 0) << b;
  }
}

TEST_P(LinearQ15Test, BlocksBehindTheEndAreZero) {
  for (const int64_t in : {32, 64, 96, 160}) {
    const auto groups = quantize(normal(in));
    for (size_t b = static_cast<size_t>(in) / 32; b < 4 * groups.size(); ++b) {
      for (size_t i = 0; i < 32; ++i) ASSERT_EQ(q_at(groups, b, i), 0);
      for (size_t j = 0; j < 4; ++j) {
        ASSERT_EQ(groups[b / 4].scale[b % 4 * 4 + j], 0);
        ASSERT_EQ(groups[b / 4].sums[b % 4 * 4 + j], 0);
      }
    }
  }
}

TEST_P(LinearQ15Test, BlocksWithoutNumbersShow) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    auto x = normal(64);
    x[37] = bad;
    const auto groups = quantize(x);
    EXPECT_FALSE(std::isnan(scale_at(groups, 0)));
    EXPECT_TRUE(std::isnan(scale_at(groups, 1)));
  }
}

// Rows of x, of any type and length: what is not a multiple of 128 ends in a part of a group.
struct Product {
  DType type;
  int64_t in;
};
std::vector<Product> products() {
  std::vector<Product> all;
  for (const DType type : kTypes) {
    const bool long_blocks = dtype_info(type).block_elements == 256;
    for (const int64_t in : {32, 96, 576, 768}) {
      if (!long_blocks || in == 768) all.push_back({type, in});
    }
  }
  for (const DType type : {DType::kQ4_1, DType::kQ6_K}) all.push_back({type, 2304});
  return all;
}

// The integer products are exact; what is left is f32 rounding of the block sums, whose sizes add up to at
// most sum |w| |x| (with the minima counted apart, which are at most 63 * 0.25 * 0.25 in size).
TEST_P(LinearQ15Test, EqualsTheReferenceOnTheSameBlocks) {
  for (const auto& [type, in] : products()) {
    for (const int64_t rows : {1, 2, 3, 4, 7, 8, 12, 19}) {
      const int64_t out = 37;
      const WeightRows weights = random_weights(type, out, in, random_);
      const auto x = quantize(normal(rows * in), in);
      const auto bias = normal(out);
      std::vector<float> y(rows * (out + 1), 0.5F);
      std::vector<float> expected = y;
      LinearQ15Params p{.weight_type = type,
                        .weight = weights.bytes.data(),
                        .weight_row_bytes = weights.row_bytes,
                        .x = x.data(),
                        .x_stride = groups_of(in),
                        .bias = bias.data(),
                        .y = y.data(),
                        .y_stride = out + 1,
                        .rows = rows,
                        .in = in,
                        .accumulate = rows == 3};
      linear_rows_q15(p, 0, 20);
      linear_rows_q15(p, 20, out);
      p.y = expected.data();
      reference::linear_rows_q15(p, 0, out);
      double size = 0;
      for (int64_t i = 0; i < in; ++i) size += (std::fabs(weights.values(0)[i]) + 1.0) * 2.0;
      SCOPED_TRACE(testing::Message() << dtype_info(type).name << " in " << in << " rows " << rows);
      expect_near(y, expected, [&](size_t) { return 16 * kEps * size; });
    }
  }
}

// Bit by bit; how many rows there are may change roundings, which EqualsTheReferenceOnTheSameBlocks bounds.
TEST_P(LinearQ15Test, ARowIsTheSameInAnySplitAndBesideAnyOthers) {
  for (const auto& [type, in] : products()) {
    for (const int64_t rows : {2, 7, 19}) {
      const int64_t out = 37;
      const WeightRows weights = random_weights(type, out, in, random_);
      const auto values = normal(rows * in);
      const auto x = quantize(values, in);
      LinearQ15Params p{.weight_type = type,
                        .weight = weights.bytes.data(),
                        .weight_row_bytes = weights.row_bytes,
                        .x_stride = groups_of(in),
                        .y_stride = out,
                        .rows = rows,
                        .in = in};
      std::vector<float> whole(rows * out), split(rows * out), beside(rows * out);
      p.x = x.data();
      p.y = whole.data();
      linear_rows_q15(p, 0, out);
      SCOPED_TRACE(testing::Message() << dtype_info(type).name << " in " << in << " rows " << rows);
      for (const int64_t at : {0, 1, 16, 21}) {
        p.y = split.data();
        linear_rows_q15(p, 0, at);
        linear_rows_q15(p, at, out);
        EXPECT_EQ(split, whole) << at;
      }
      for (const int64_t r : {int64_t{0}, rows - 1}) {
        auto others = normal(rows * in);
        std::copy_n(values.begin() + r * in, in, others.begin() + r * in);
        const auto other_groups = quantize(others, in);
        p.x = other_groups.data();
        p.y = beside.data();
        linear_rows_q15(p, 0, out);
        for (int64_t o = 0; o < out; ++o) ASSERT_EQ(beside[r * out + o], whole[r * out + o]) << r << " " << o;
      }
    }
  }
}

// Whatever lies behind a row of weights is not read as a part of it.
TEST_P(LinearQ15Test, BytesBehindARowDoNotMatter) {
  for (const auto& [type, in] : products()) {
    for (const int64_t rows : {1, 3}) {
      WeightRows weights = random_weights(type, 1, in, random_);
      const auto x = quantize(normal(rows * in), in);
      std::vector<float> y[2] = {std::vector<float>(rows), std::vector<float>(rows)};
      for (const int fill : {0x00, 0xFF}) {  // 0xFFFF is a NaN of f16
        weights.bytes.resize(static_cast<size_t>(weights.row_bytes - 5));
        weights.bytes.resize(static_cast<size_t>(weights.row_bytes) + 256, static_cast<std::byte>(fill));
        linear_rows_q15({.weight_type = type,
                         .weight = weights.bytes.data(),
                         .weight_row_bytes = weights.row_bytes,
                         .x = x.data(),
                         .x_stride = groups_of(in),
                         .y = y[fill != 0].data(),
                         .y_stride = 1,
                         .rows = rows,
                         .in = in},
                        0, 1);
      }
      EXPECT_EQ(y[0], y[1]) << dtype_info(type).name << " in " << in << " rows " << rows;
    }
  }
}

TEST_P(LinearQ15Test, StaysWithinItsBoundOfTheUnroundedProduct) {
  for (const DType type : kTypes) {
    for (const int64_t rows : {1, 17}) {
      const int64_t in = 1536, out = 20;
      const WeightRows weights = random_weights(type, out, in, random_);
      const auto x = normal(rows * in);
      const auto groups = quantize(x, in);
      std::vector<float> y(rows * out);
      linear_rows_q15({.weight_type = type,
                       .weight = weights.bytes.data(),
                       .weight_row_bytes = weights.row_bytes,
                       .x = groups.data(),
                       .x_stride = in / 128,
                       .y = y.data(),
                       .y_stride = out,
                       .rows = rows,
                       .in = in},
                      0, out);
      for (int64_t o = 0; o < out; ++o) {
        const auto w = weights.values(o);
        for (int64_t r = 0; r < rows; ++r) {
          double exact = 0;
          double bound = 0;
          for (int64_t i = 0; i < in; ++i) {
            const double product = static_cast<double>(w[i]) * x[r * in + i];
            exact += product;
            bound += scale_at(groups, static_cast<size_t>((r * in + i) / 32)) / 2.0 * std::fabs(w[i]) +
                     16 * kEps * std::fabs(product);
          }
          // Random errors mostly cancel: a bound that needs all of them would hide a bug.
          ASSERT_LE(std::fabs(y[r * out + o] - exact), bound / 4) << r << " " << o;
        }
      }
    }
  }
}

TEST_P(LinearQ15Test, LargestBytesDoNotOverflow) {
  // The smallest weight byte, -128, times activations of full size in every element.
  std::vector<std::byte> row(34, std::byte{0x80});
  const uint16_t one = 0x3C00;
  std::memcpy(row.data(), &one, sizeof one);
  for (const int64_t rows : {1, 3}) {
    for (const float value : {1.0F, -1.0F}) {
      const auto x = quantize(std::vector<float>(static_cast<size_t>(32 * rows), value), 32);
      std::vector<float> y(rows);
      linear_rows_q15({.weight_type = DType::kQ8_0,
                       .weight = row.data(),
                       .weight_row_bytes = 34,
                       .x = x.data(),
                       .x_stride = 1,
                       .y = y.data(),
                       .y_stride = 1,
                       .rows = rows,
                       .in = 32},
                      0, 1);
      for (const float each : y) EXPECT_NEAR(each, -128.0 * 32 * value, 4096 * 4 * kEps) << rows;
    }
  }
}

}  // namespace
}  // namespace beacon::kernels
