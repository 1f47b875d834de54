// Norm, feed-forward gate, rotation and losses of rows: every build against the slow twin.
#include "kernels/rows.h"

#include <algorithm>

#include "kernel_test.h"
#include "kernels/loss_rows.h"
#include "kernels/reference/reference.h"

namespace beacon::kernels {
namespace {

// Elements of one type.
struct Elements {
  Elements(DType type, const std::vector<float>& from) : type(type), floats(from), halves(from.size()) {
    reference::f32_to_bf16(floats.data(), halves.data(), static_cast<int64_t>(floats.size()));
  }
  Elements(DType type, size_t n) : Elements(type, std::vector<float>(n, -77.0F)) {}
  void* data() { return type == DType::kBF16 ? static_cast<void*>(halves.data()) : floats.data(); }
  std::vector<float> values() const {
    std::vector<float> result(floats);
    if (type == DType::kBF16)
      reference::bf16_to_f32(halves.data(), result.data(), static_cast<int64_t>(result.size()));
    return result;
  }
  DType type;
  std::vector<float> floats;
  std::vector<uint16_t> halves;
};

class RowsTest : public KernelTest {
 protected:
  // f32 arithmetic with `roundings` roundings of `size`, and the rounding of the result: at most one step of
  // its type, where the two sides fall on different sides of a tie.
  static void expect_close(const Elements& actual, const Elements& expected, double roundings, double size) {
    const auto wanted = expected.values();
    const double step = actual.type == DType::kBF16 ? 0x1p-7 : 0;
    expect_near(actual.values(), wanted, [&](size_t i) {
      return step * std::fabs(static_cast<double>(wanted[i])) + roundings * kEps * size + 1e-37;
    });
  }
};
BEACON_FOR_EVERY_ISA(RowsTest);

constexpr DType kTypes[] = {DType::kF32, DType::kBF16};

TEST_P(RowsTest, RmsNorm) {
  for (const DType x_type : kTypes) {
    for (const DType y_type : kTypes) {
      for (const int64_t cols : {1, 7, 16, 50, 576}) {
        SCOPED_TRACE(testing::Message() << cols << " columns");
        Elements x(x_type, normal(3 * cols, 2.0F)), dy(y_type, normal(3 * cols));
        const auto weight = normal(cols);
        Elements y(y_type, x.floats.size()), dx(x_type, x.floats.size()), want_y = y, want_dx = dx;
        NormRows rows{x_type, x.data(), weight.data(), y_type, y.data(), dy.data(), dx.data(), cols, 1e-5F};
        rms_norm_forward(rows, 0, 1);
        rms_norm_forward(rows, 1, 3);
        rms_norm_backward(rows, 1, 3);
        rms_norm_backward(rows, 0, 1);
        rows.y = want_y.data();
        rows.dx = want_dx.data();
        reference::rms_norm_forward(rows, 0, 3);
        reference::rms_norm_backward(rows, 0, 3);
        // Results of size weight * x / rms(x), below 40.
        expect_close(y, want_y, 8, 40);
        // A row of one number has no gradient but that of eps: what cancels is divided by rms(x), 0.1 or so.
        expect_close(dx, want_dx, 32, cols == 1 ? 100 : 40);
      }
    }
  }
}

TEST_P(RowsTest, RmsNormOfASum) {
  for (const DType type : kTypes) {
    for (const int64_t cols : {1, 7, 50, 576}) {
      Elements x(DType::kF32, normal(3 * cols, 2.0F)), branch(type, normal(3 * cols));
      const auto weight = normal(cols);
      Elements y(type, x.floats.size()), want_x = x, want_y = y;
      NormRows rows{.x = x.data(), .weight = weight.data(), .y_type = type, .y = y.data(), .cols = cols};
      rows.eps = 1e-5F;
      rows.branch = branch.data();
      rows.sum = x.floats.data();
      rms_norm_forward(rows, 0, 1);
      rms_norm_forward(rows, 1, 3);
      rows.x = rows.sum = want_x.floats.data();
      rows.y = want_y.data();
      reference::rms_norm_forward(rows, 0, 3);
      EXPECT_EQ(x.floats, want_x.floats);
      expect_close(y, want_y, 8, 40);
    }
  }
}

TEST_P(RowsTest, RmsNormOfZerosIsZero) {
  std::vector<float> x(20, 0.0F);
  const std::vector<float> weight(20, 2.0F);
  rms_norm_forward({.x = x.data(), .weight = weight.data(), .y = x.data(), .cols = 20, .eps = 1e-6F}, 0, 1);
  EXPECT_EQ(x, std::vector<float>(20, 0.0F));
}

TEST_P(RowsTest, Swiglu) {
  for (const DType type : kTypes) {
    auto gates = normal(1000, 4.0F);
    const float far[] = {-200.0F, -95.0F, -88.0F, 88.0F, 95.0F, 200.0F, 0.0F};
    std::copy(std::begin(far), std::end(far), gates.begin());
    Elements gate(type, gates), up(type, normal(1000)), dout(type, normal(1000));
    Elements out(type, 1000), dgate(type, 1000), dup(type, 1000), want_out = out, want_dgate = dgate,
                                                                  want_dup = dup;
    SwigluArrays arrays{type, gate.data(), up.data(), out.data(), dout.data(), dgate.data(), dup.data()};
    for (const auto& [begin, end] : {std::pair(0, 333), std::pair(333, 1000)}) {
      swiglu_forward(arrays, begin, end);
      swiglu_backward(arrays, begin, end);
    }
    arrays.out = want_out.data();
    arrays.dgate = want_dgate.data();
    arrays.dup = want_dup.data();
    reference::swiglu_forward(arrays, 0, 1000);
    reference::swiglu_backward(arrays, 0, 1000);
    expect_close(out, want_out, 16, 40);
    expect_close(dgate, want_dgate, 16, 20);
    expect_close(dup, want_dup, 16, 40);
    arrays.out = gate.data();
    swiglu_forward(arrays, 0, 1000);
    EXPECT_EQ(gate.values(), out.values());
  }
}

TEST_P(RowsTest, Rotation) {
  for (const DType x_type : kTypes) {
    for (const DType y_type : kTypes) {
      for (const int64_t dim : {2, 12, 64, 100}) {
        const int64_t heads = 3, table_rows = 4, row_stride = heads * (dim + 1) + 2;
        Elements x(x_type, normal(8 * row_stride)), y(y_type, x.floats.size()), want = y;
        const auto cos = normal(table_rows * dim / 2), sin = normal(table_rows * dim / 2);
        for (const bool backwards : {false, true}) {
          RotateRows rows{x_type,  x.data(),   row_stride, dim + 1,    y_type, y.data(), row_stride,
                          dim + 1, cos.data(), sin.data(), table_rows, heads,  dim,      backwards};
          rotate_rows(rows, 3, 8);
          rotate_rows(rows, 0, 3);
          rows.y = want.data();
          reference::rotate_rows(rows, 0, 8);
          // What lies between the rows stays as it was on both sides.
          expect_close(y, want, 4, 20);
          if (x_type != y_type) continue;
          Elements in_place = x;
          rows.x = rows.y = in_place.data();
          rotate_rows(rows, 0, 8);
          for (int64_t i = 0; i < dim; ++i) {
            const auto at = static_cast<size_t>(5 * row_stride + dim + 1 + i);
            EXPECT_EQ(in_place.values()[at], y.values()[at]);
          }
        }
      }
    }
  }
}

class LossRowsTest : public RowsTest {
 protected:
  struct Losses {
    std::vector<float> cross_entropy = std::vector<float>(3, -77.0F), divergence = cross_entropy;
  };
  static LossRows rows(Elements& logits, Elements* teacher, const std::vector<int32_t>& labels,
                       Losses& losses) {
    LossRows p;
    p.type = logits.type;
    p.logits = logits.data();
    p.teacher = teacher == nullptr ? nullptr : teacher->data();
    p.labels = labels.data();
    p.vocabulary = static_cast<int64_t>(logits.floats.size()) / 3;
    p.cross_entropy = losses.cross_entropy.data();
    p.divergence = losses.divergence.data();
    return p;
  }
  // Losses of size 64 at most are known to some roundings of it.
  static void expect_same(const Losses& actual, const Losses& expected) {
    const auto tolerance = [](size_t) { return 8 * 64 * kEps; };
    expect_near(actual.cross_entropy, expected.cross_entropy, tolerance);
    expect_near(actual.divergence, expected.divergence, tolerance);
  }
};
BEACON_FOR_EVERY_ISA(LossRowsTest);

TEST_P(LossRowsTest, EqualsTheReference) {
  for (const DType type : kTypes) {
    for (const int64_t vocabulary : {1, 5, 16, 301, 5000}) {
      for (const bool taught : {false, true}) {
        SCOPED_TRACE(testing::Message() << vocabulary << " words, teacher " << taught);
        Elements logits(type, normal(3 * vocabulary, 5.0F)), teacher(type, normal(3 * vocabulary, 5.0F));
        Elements want = logits;
        const std::vector<int32_t> labels = {0, static_cast<int32_t>(vocabulary - 1),
                                             static_cast<int32_t>(vocabulary / 2)};
        Losses losses, wanted;
        LossRows p = rows(logits, taught ? &teacher : nullptr, labels, losses);
        LossRows q = rows(want, taught ? &teacher : nullptr, labels, wanted);
        p.cross_entropy_weight = q.cross_entropy_weight = 0.75F;
        p.divergence_weight = q.divergence_weight = taught ? 2.0F : 0.0F;
        loss_rows(p, 0, 2);
        loss_rows(p, 2, 3);
        reference::loss_rows(q, 0, 3);
        expect_same(losses, wanted);
        // Exponents of size 64 are rounded, so weights err by 64 roundings.
        expect_close(logits, want, 2.75 * 3 * 64, 1);
      }
    }
  }
}

TEST_P(LossRowsTest, WithoutGradientTheLogitsStay) {
  for (const bool taught : {false, true}) {
    Elements logits(DType::kF32, normal(3 * 40)), teacher(DType::kF32, normal(3 * 40));
    const Elements before = logits;
    Losses losses;
    const std::vector<int32_t> labels = {1, 2, 3};
    LossRows p = rows(logits, taught ? &teacher : nullptr, labels, losses);
    p.differentiate = false;
    loss_rows(p, 0, 3);
    EXPECT_EQ(logits.values(), before.values());
    EXPECT_GT(losses.cross_entropy[0], 0.0F);
  }
}

// A teacher equal to the student has nothing to teach.
TEST_P(LossRowsTest, NothingToLearnFromOneself) {
  Elements logits(DType::kF32, normal(3 * 300, 4.0F));
  Elements teacher = logits;
  Losses losses;
  const std::vector<int32_t> labels = {7, 8, 9};
  LossRows p = rows(logits, &teacher, labels, losses);
  p.cross_entropy_weight = 0;
  p.divergence_weight = 1;
  loss_rows(p, 0, 3);
  for (const float divergence : losses.divergence) EXPECT_NEAR(divergence, 0.0F, 1e-6F);
  for (const float gradient : logits.values()) EXPECT_NEAR(gradient, 0.0F, 1e-6F);
}

// Logits of any size: the loss of a certain word is 0, of an impossible one the distance.
TEST_P(LossRowsTest, LargeLogits) {
  std::vector<float> values(3 * 20, -500.0F);
  for (size_t r = 0; r < 3; ++r) values[r * 20 + 4] = 500.0F;
  Elements logits(DType::kF32, values);
  Losses losses;
  const std::vector<int32_t> labels = {4, 5, 4};
  loss_rows(rows(logits, nullptr, labels, losses), 0, 3);
  EXPECT_EQ(losses.cross_entropy[0], 0.0F);
  EXPECT_EQ(losses.cross_entropy[1], 1000.0F);
  EXPECT_EQ(logits.values()[4], 0.0F);
  EXPECT_EQ(logits.values()[20 + 4], 1.0F);
  EXPECT_EQ(logits.values()[20 + 5], -1.0F);
}

}  // namespace
}  // namespace beacon::kernels
