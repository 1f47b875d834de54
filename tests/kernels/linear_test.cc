#include "kernels/linear.h"

#include <thread>

#include "kernels/convert.h"
#include "linear_fixture.h"

namespace beacon::kernels {
namespace {

constexpr DType kTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                            DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                            DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

class LinearTest : public KernelTest {
 protected:
  // Against the reference; the tolerance is what linear.h promises.
  void check(DType type, int64_t rows, int64_t in, bool accumulate, bool with_bias) {
    const int64_t out = 5;
    const WeightRows weights = random_weights(type, out, in, random_);
    const int64_t x_stride = in + 3;
    const int64_t y_stride = out + 2;
    const auto x = normal((rows - 1) * x_stride + in);
    const auto bias = normal(out);
    std::vector<float> y = normal((rows - 1) * y_stride + out);
    std::vector<float> expected = y;
    LinearParams p{.weight_type = type,
                   .weight = weights.bytes.data(),
                   .weight_row_bytes = weights.row_bytes,
                   .x = x.data(),
                   .x_stride = x_stride,
                   .bias = with_bias ? bias.data() : nullptr,
                   .y = y.data(),
                   .y_stride = y_stride,
                   .rows = rows,
                   .in = in,
                   .accumulate = accumulate};
    linear_rows(p, 0, 2);
    linear_rows(p, 2, out);
    p.y = expected.data();
    reference::linear_rows(p, 0, out);
    std::vector<double> tolerance(y.size(), 1e-30);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t o = 0; o < out; ++o) {
        double w2 = 0;
        double x2 = 0;
        for (const float w : weights.values(o)) w2 += static_cast<double>(w) * w;
        for (int64_t i = 0; i < in; ++i) x2 += static_cast<double>(x[r * x_stride + i]) * x[r * x_stride + i];
        // The additions of the bias and of the old y round as well.
        tolerance[r * y_stride + o] =
            1e-5 * std::sqrt(w2 * x2) + 4 * kEps * (std::fabs(expected[r * y_stride + o]) + 8);
      }
    }
    SCOPED_TRACE(testing::Message() << dtype_info(type).name << " rows " << rows << " in " << in);
    expect_near(y, expected, [&](size_t i) { return tolerance[i]; });
  }
};
BEACON_FOR_EVERY_ISA(LinearTest);

TEST_P(LinearTest, EveryTypeAndNumberOfRows) {
  for (const DType type : kTypes) {
    for (const int64_t rows : {1, 2, 3, 4, 5, 7, 8, 11, 16}) check(type, rows, 512, false, rows % 2 == 0);
  }
}

TEST_P(LinearTest, LengthsThatAreNotWholePieces) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const int64_t in : {1, 5, 31, 32, 33, 63, 97}) {
      check(type, 1, in, true, true);
      check(type, 3, in, false, false);
    }
  }
}

TEST_P(LinearTest, RowsLongerThanOnePass) {
  for (const DType type : {DType::kF32, DType::kQ4_1, DType::kQ5_K}) {
    check(type, 3, 16384 + 256, true, true);
    check(type, 1, 2 * 16384 + 512, false, true);
  }
  check(DType::kF16, 1, 16384 + 7, false, true);
}

TEST_P(LinearTest, EqualsDequantiseThenDot) {
  const WeightRows weights = random_weights(DType::kQ4_1, 1, 576, random_);
  const auto x = normal(576);
  std::vector<float> w(576);
  dequantize_row(DType::kQ4_1, weights.row(0), w.data(), 576);
  double dot = 0;
  double w2 = 0;
  double x2 = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    dot += static_cast<double>(w[i]) * x[i];
    w2 += static_cast<double>(w[i]) * w[i];
    x2 += static_cast<double>(x[i]) * x[i];
  }
  float y = 0;
  linear_rows({.weight_type = DType::kQ4_1,
               .weight = weights.row(0),
               .weight_row_bytes = weights.row_bytes,
               .x = x.data(),
               .x_stride = 576,
               .y = &y,
               .y_stride = 1,
               .rows = 1,
               .in = 576},
              0, 1);
  EXPECT_NEAR(y, dot, 1e-5 * std::sqrt(w2 * x2));
}

TEST_P(LinearTest, ARowAloneAndThreadsGiveTheSameBits) {
  for (const DType type : kTypes) {
    const int64_t out = 24;
    const int64_t in = 512;
    const int64_t rows = 7;
    const WeightRows weights = random_weights(type, out, in, random_);
    const auto x = normal(rows * in);
    std::vector<float> whole(rows * out);
    LinearParams p{.weight_type = type,
                   .weight = weights.bytes.data(),
                   .weight_row_bytes = weights.row_bytes,
                   .x = x.data(),
                   .x_stride = in,
                   .y = whole.data(),
                   .y_stride = out,
                   .rows = rows,
                   .in = in};
    linear_rows(p, 0, out);
    std::vector<float> threaded(rows * out);
    p.y = threaded.data();
    std::thread other([&] { linear_rows(p, 0, 11); });
    linear_rows(p, 11, out);
    other.join();
    EXPECT_EQ(whole, threaded) << dtype_info(type).name;
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<float> alone(out);
      LinearParams one = p;
      one.x = x.data() + r * in;
      one.y = alone.data();
      one.rows = 1;
      linear_rows(one, 0, out);
      EXPECT_EQ(alone, std::vector<float>(whole.begin() + r * out, whole.begin() + (r + 1) * out))
          << dtype_info(type).name << " row " << r;
    }
  }
}

}  // namespace
}  // namespace beacon::kernels
