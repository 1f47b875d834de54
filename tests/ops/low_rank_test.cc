#include "ops/low_rank.h"

#include "ops/tensor_check.h"

namespace beacon::ops {
namespace {

using namespace beacon::testing;

class LowRankTest : public TensorTest {
 protected:
  void SetUp() override {
    TensorTest::SetUp();
    low_rank_ = {at::randn({5, 96}), at::randn({37, 5}), 0.25};
  }

  at::Tensor exact_change() const {
    return 0.25 * at::mm(low_rank_.b.to(at::kDouble), low_rank_.a.to(at::kDouble));
  }

  LowRank low_rank_;
};

TEST_F(LowRankTest, IsAddedWhateverTheTypes) {
  for (const at::ScalarType in : {at::kFloat, at::kBFloat16}) {
    for (const at::ScalarType out : {at::kFloat, at::kBFloat16}) {
      for (const at::ScalarType compute : {at::kFloat, at::kBFloat16}) {
        SCOPED_TRACE(::testing::Message() << in << " to " << out << " in " << compute);
        const at::Tensor x = at::randn({7, 96}).to(in);
        const at::Tensor before = at::randn({7, 37}).to(out), y = before.clone();
        add_low_rank(x, low_rank_, y, compute);
        const at::Tensor expected = before.to(at::kDouble) + at::mm(x.to(at::kDouble), exact_change().t());
        const double error = ((y - expected).norm() / expected.norm()).item<double>();
        // In bf16 x, A, x A^T, B and y are rounded, independently: sqrt(5) times at most.
        const bool rounds = out == at::kBFloat16 || compute == at::kBFloat16;
        EXPECT_LE(error, rounds ? std::sqrt(5.0) * kEpsBf16 : 100 * kEpsF32);
        if (rounds) {
          EXPECT_GT(error, kEpsBf16 / 16) << "not computed in bf16";
        }
      }
    }
  }
}

TEST_F(LowRankTest, RowsMayBeFurtherApartThanTheyAreLong) {
  const at::Tensor x = at::randn({7, 120}).narrow(1, 3, 96);
  const at::Tensor wide = at::full({7, 50}, 5.0F);
  add_low_rank(x, low_rank_, wide.narrow(1, 4, 37), at::kFloat);
  const at::Tensor expected = 5.0 + at::mm(x.to(at::kDouble), exact_change().t());
  expect_close(wide.narrow(1, 4, 37), expected, 1e-4);
  expect_equal(wide.narrow(1, 0, 4), at::full({7, 4}, 5.0F));
  expect_equal(wide.narrow(1, 41, 9), at::full({7, 9}, 5.0F));
}

TEST_F(LowRankTest, ExpandsToTheChange) { expect_close(expand(low_rank_), exact_change(), 1e-5); }

TEST_F(LowRankTest, NoneAddsNothing) {
  const at::Tensor y = at::randn({3, 37}), before = y.clone();
  add_low_rank(at::randn({3, 96}), {}, y, at::kFloat);
  expect_equal(y, before);
}

TEST_F(LowRankTest, WrongShapesAreRefused) {
  expect_error(ErrorCode::kInternal, "low_rank", [&] {
    add_low_rank(at::randn({3, 95}), low_rank_, at::zeros({3, 37}), at::kFloat);
  });
  expect_error(ErrorCode::kInternal, "low_rank", [&] {
    add_low_rank(at::randn({3, 96}), low_rank_, at::zeros({3, 36}), at::kFloat);
  });
}

}  // namespace
}  // namespace beacon::ops
