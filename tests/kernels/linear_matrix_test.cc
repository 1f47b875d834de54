#include "kernels/linear.h"
#include "linear_fixture.h"

namespace beacon::kernels {
namespace {

constexpr DType kTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                            DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
constexpr int64_t kTile = kLinearTileRows;

// Rows of activations in tiles.
struct Tiles {
  Tiles(const std::vector<float>& x, int64_t rows, int64_t in) : rows(rows), in(in) {
    const int64_t padded = (rows + kTile - 1) / kTile * kTile;
    q.resize(static_cast<size_t>(padded * in), 0x5555);
    scale.resize(q.size() / 32, -1);
    sums.resize(q.size() / 32, -1);
    for (int64_t r = 0; r < rows; r += kTile) {
      round_tile_q15(x.data() + r * in, in, std::min(kTile, rows - r), in, q.data() + r * in,
                     scale.data() + r * in / 32, sums.data() + r * in / 32);
    }
  }
  int q_at(int64_t r, int64_t i) const {
    return q[static_cast<size_t>(r / kTile * kTile * in + 2 * (i / 2 * kTile + r % kTile) + i % 2)];
  }
  size_t block(int64_t r, int64_t b) const {
    return static_cast<size_t>(r / kTile * kTile * in / 32 + b * kTile + r % kTile);
  }

  int64_t rows, in;
  std::vector<int16_t> q;
  std::vector<float> scale, sums;
};

LinearMatrixParams params(const WeightRows& weights, const Tiles& x, float* y, int64_t y_stride) {
  return {.weight_type = weights.type,
          .weight = weights.bytes.data(),
          .weight_row_bytes = weights.row_bytes,
          .x = x.q.data(),
          .x_scale = x.scale.data(),
          .x_sums = x.sums.data(),
          .y = y,
          .y_stride = y_stride,
          .rows = x.rows,
          .in = x.in};
}

struct Product {
  DType type;
  int64_t in;
};
// 544 and 768 are more blocks than are multiplied at a time; 96 and 544 end in a part of a vector.
std::vector<Product> products() {
  std::vector<Product> all;
  for (const DType type : kTypes) {
    for (const int64_t in : {32, 96, 544, 768}) {
      if (dtype_info(type).block_elements == 32 || in == 768) all.push_back({type, in});
    }
  }
  return all;
}

class LinearMatrixTest : public KernelTest {};
BEACON_FOR_EVERY_ISA(LinearMatrixTest);

TEST_P(LinearMatrixTest, RoundsAsTheBlocksOfFewRowsAreRounded) {
  const int64_t in = 96;
  for (const int64_t rows : {1, 3, 4, 6}) {
    auto x = normal(rows * in);
    for (size_t i = 0; i < 32; ++i) x[i] = 0;
    x[40] = INFINITY;
    const Tiles tiles(x, rows, in);
    for (int64_t r = 0; r < (rows + kTile - 1) / kTile * kTile; ++r) {
      Q15Group group = {};
      if (r < rows) quantize_activations_q15(x.data() + r * in, &group, in);
      for (int64_t b = 0; b < in / 32; ++b) {
        int sum = 0;
        for (int64_t i = 0; i < 32; ++i) {
          const auto at = static_cast<size_t>(16 * b + i % 16);
          ASSERT_EQ(tiles.q_at(r, 32 * b + i), 128 * group.high[i / 16][at] + group.low[i / 16][at]);
          sum += tiles.q_at(r, 32 * b + i);
        }
        const float scale = tiles.scale[tiles.block(r, b)];
        if (r == 0 && b == 1) {
          EXPECT_TRUE(std::isnan(scale));
          EXPECT_TRUE(std::isnan(tiles.sums[tiles.block(r, b)]));
          continue;
        }
        EXPECT_EQ(scale, group.scale[4 * b]);
        EXPECT_EQ(tiles.sums[tiles.block(r, b)], static_cast<float>(sum) * scale);
      }
    }
  }
}

// What is left is f32 rounding of the block sums, as in linear_q15_test.cc.
TEST_P(LinearMatrixTest, EqualsTheReferenceOnTheSameIntegers) {
  for (const auto& [type, in] : products()) {
    for (const int64_t out : {1, 11, 16, 75}) {
      for (const int64_t rows : {1, 4, 7, 13}) {
        const WeightRows weights = random_weights(type, out, in, random_);
        const Tiles x(normal(rows * in), rows, in);
        const auto bias = normal(out);
        std::vector<float> y(static_cast<size_t>(rows * (out + 1)), 0.5F), expected = y;
        LinearMatrixParams p = params(weights, x, y.data(), out + 1);
        if (rows != 4) p.bias = bias.data();
        const int64_t split = std::min(out, kLinearPanel);
        linear_matrix_q15(p, 0, split);
        linear_matrix_q15(p, split, out);
        p.y = expected.data();
        reference::linear_matrix_q15(p, 0, out);
        double size = 0;
        for (int64_t i = 0; i < in; ++i) size += (std::fabs(weights.values(0)[i]) + 1.0) * 2.0;
        SCOPED_TRACE(testing::Message()
                     << dtype_info(type).name << " in " << in << " out " << out << " rows " << rows);
        expect_near(y, expected, [&](size_t) { return 16 * kEps * size; });
      }
    }
  }
}

TEST_P(LinearMatrixTest, ARowIsTheSameAloneAndInAnySplit) {
  for (const auto& [type, in] : products()) {
    const int64_t out = 70, rows = 11;
    const WeightRows weights = random_weights(type, out, in, random_);
    const auto values = normal(rows * in);
    std::vector<float> together(static_cast<size_t>(rows * out)), alone(together.size());
    const Tiles x(values, rows, in);
    linear_matrix_q15(params(weights, x, together.data(), out), 0, out);
    for (int64_t r = 0; r < rows; ++r) {
      const Tiles row({values.begin() + r * in, values.begin() + (r + 1) * in}, 1, in);
      const LinearMatrixParams p = params(weights, row, alone.data() + r * out, out);
      const int64_t split = r % out;
      linear_matrix_q15(p, 0, split);
      linear_matrix_q15(p, split, out);
    }
    EXPECT_EQ(together, alone) << dtype_info(type).name << " in " << in;
  }
}

TEST_P(LinearMatrixTest, LargestIntegersDoNotOverflow) {
  // The smallest weight byte, -128, times activations of full size in every element.
  WeightRows weights{DType::kQ8_0, 1, 32, 34, std::vector<std::byte>(34, std::byte{0x80})};
  const uint16_t one = 0x3C00;
  std::memcpy(weights.bytes.data(), &one, sizeof one);
  for (const float value : {1.0F, -1.0F}) {
    const Tiles x(std::vector<float>(32, value), 1, 32);
    float y = 0;
    linear_matrix_q15(params(weights, x, &y, 1), 0, 1);
    EXPECT_NEAR(y, -4096.0F * value, 1e-3F);
  }
}

TEST_P(LinearMatrixTest, WhatIsNoNumberShows) {
  const WeightRows weights = random_weights(DType::kQ4_1, 5, 64, random_);
  auto values = normal(2 * 64);
  values[64 + 40] = NAN;
  const Tiles x(values, 2, 64);
  std::vector<float> y(10);
  linear_matrix_q15(params(weights, x, y.data(), 5), 0, 5);
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(std::isnan(y[i]), i >= 5) << i;
}

}  // namespace
}  // namespace beacon::kernels
