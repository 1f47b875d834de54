#include "ops/autograd/linear_loss.h"

#include "ops/autograd/gradient_check.h"

namespace beacon::ops::autograd {
namespace {

class LinearLossTest : public AutogradTest {
 protected:
  static constexpr int64_t kRows = 45, kDim = 24, kVocabulary = 301;

  void SetUp() override {
    AutogradTest::SetUp();
    hidden_ = random({kRows, kDim});
    teacher_ = random({kRows, kDim});
    head_ = random({kVocabulary, kDim});
    labels_ = at::randint(0, kVocabulary, {kRows}, at::kInt);
    labels_[0] = kIgnoredLabel;
    labels_[17] = kIgnoredLabel;
    labels_[3] = kVocabulary - 1;
    labels_[4] = 0;
  }

  // f64 [R] each, 0 where ignored.
  at::Tensor exact_cross_entropy(const at::Tensor& hidden) const {
    const at::Tensor logits = at::mm(hidden, head_.to(at::kDouble).t());
    const at::Tensor labels = labels_.clamp_min(0).to(at::kLong).unsqueeze(1);
    return (logits.logsumexp(-1) - logits.gather(1, labels).squeeze(1)) * scored();
  }
  at::Tensor exact_divergence(const at::Tensor& hidden) const {
    const at::Tensor log_p = at::mm(hidden, head_.to(at::kDouble).t()).log_softmax(-1);
    const at::Tensor log_t = at::mm(teacher_.to(at::kDouble), head_.to(at::kDouble).t()).log_softmax(-1);
    return (log_t.exp() * (log_t - log_p)).sum(-1) * scored();
  }
  at::Tensor scored() const { return labels_.ne(kIgnoredLabel).to(at::kDouble); }

  LinearLoss run(const at::Tensor& hidden, const LinearLossOptions& options) const {
    return linear_loss(hidden, head_.to(compute()), labels_, options, context());
  }

  // In bf16 logits of size up to 32 are rounded: each is off by 1/16 at most, and two are compared.
  // In f32 they are rounded at 2^-20, and so are the logs of their sums.
  double tolerance() const { return compute() == at::kBFloat16 ? 0.125 : 2e-5; }

  void expect_right(LinearLossOptions options) const {
    const bool distil = options.divergence_weight != 0;
    if (distil) options.teacher_hidden = teacher_;
    at::Tensor hidden = hidden_.clone().requires_grad_();
    const LinearLoss loss = run(hidden, options);
    const at::Tensor exact_hidden = hidden_.to(at::kDouble).requires_grad_();
    const at::Tensor entropy = exact_cross_entropy(exact_hidden), divergence = exact_divergence(exact_hidden);
    at::Tensor total = options.cross_entropy_weight * entropy + options.divergence_weight * divergence;
    if (options.row_weights.defined()) total = total * options.row_weights.to(at::kDouble);
    total = total.sum();
    expect_close(loss.cross_entropy, entropy.detach(), tolerance());
    EXPECT_FALSE(loss.cross_entropy.requires_grad());
    EXPECT_EQ(loss.divergence.defined(), distil);
    if (distil) expect_close(loss.divergence, divergence.detach(), tolerance());
    EXPECT_EQ(loss.scored, kRows - 2);
    EXPECT_EQ(loss.total.dim(), 0);
    expect_close(loss.total.detach(), total.detach(), tolerance() * kRows);
    (loss.total * 0.5).backward();
    (total * 0.5).backward();
    expect_near(hidden.grad(), exact_hidden.grad(), compute() == at::kBFloat16 ? 16 : 64);
    EXPECT_EQ(hidden.grad()[0].abs().max().item<float>(), 0.0F);
    EXPECT_EQ(hidden.grad()[17].abs().max().item<float>(), 0.0F);
  }

  at::Tensor hidden_, teacher_, head_, labels_;
};
BEACON_FOR_EVERY_MODE(LinearLossTest);

TEST_P(LinearLossTest, CrossEntropy) { expect_right({}); }

TEST_P(LinearLossTest, Divergence) {
  expect_right({.cross_entropy_weight = 0.0, .divergence_weight = 1.0});
  expect_right({.cross_entropy_weight = 0.75, .divergence_weight = 2.0});
}

TEST_P(LinearLossTest, RowsHaveWeights) {
  const at::Tensor weights = at::rand({kRows});
  weights[5] = 0.0F;
  expect_right({.row_weights = weights});
  expect_right({.cross_entropy_weight = 0.75, .divergence_weight = 2.0, .row_weights = weights});
}

TEST_P(LinearLossTest, ChunksChangeNothing) {
  const LinearLoss whole = run(hidden_, {.divergence_weight = 1.0, .teacher_hidden = teacher_});
  for (const int64_t chunk_rows : {1, 7, 43, 44}) {
    at::Tensor hidden = hidden_.clone().requires_grad_();
    const LinearLoss loss =
        run(hidden, {.divergence_weight = 1.0, .teacher_hidden = teacher_, .chunk_rows = chunk_rows});
    // A product of fewer rows may sum in another order.
    expect_close(loss.cross_entropy, whole.cross_entropy, 1e-5 + tolerance());
    expect_close(loss.divergence, whole.divergence, 1e-5 + tolerance());
    loss.total.backward();
    EXPECT_GT(hidden.grad()[kRows - 1].abs().max().item<float>(), 0.0F);
  }
}

// The gradient by differences of the loss itself.
TEST_P(LinearLossTest, GradientByCentralDifferences) {
  if (compute() == at::kBFloat16) GTEST_SKIP() << "differences drown in the rounding of logits";
  at::Tensor hidden = hidden_.clone().requires_grad_();
  LinearLossOptions options{
      .cross_entropy_weight = 0.5, .divergence_weight = 1.0, .teacher_hidden = teacher_};
  run(hidden, options).total.backward();
  for (const auto& [row, column] : {std::pair<int64_t, int64_t>{1, 0}, {3, 7}, {44, 23}, {17, 5}}) {
    const double step = 0x1p-7;
    double sides[2];
    for (const int side : {0, 1}) {
      const at::Tensor moved = hidden_.clone();
      moved[row][column] += side == 0 ? -step : step;
      const LinearLoss loss = run(moved, options);
      sides[side] = 0.5 * loss.cross_entropy[row].item<double>() + loss.divergence[row].item<double>();
    }
    // Losses of size 20 are known to 1e-6 each, and the third derivative counts step^2.
    EXPECT_NEAR(hidden.grad()[row][column].item<double>(), (sides[1] - sides[0]) / (2 * step), 2e-3);
  }
}

TEST_P(LinearLossTest, NoGradientNoWork) {
  const LinearLoss loss = run(hidden_, {});
  EXPECT_FALSE(loss.total.requires_grad());
}

TEST_P(LinearLossTest, NothingScored) {
  labels_.fill_(kIgnoredLabel);
  at::Tensor hidden = hidden_.clone().requires_grad_();
  const LinearLoss loss = run(hidden, {});
  EXPECT_EQ(loss.scored, 0);
  EXPECT_EQ(loss.total.item<float>(), 0.0F);
  loss.total.backward();
  EXPECT_EQ(hidden.grad().abs().max().item<float>(), 0.0F);
}

TEST_P(LinearLossTest, LabelsOutsideTheVocabularyAreRefused) {
  for (const int32_t label : {-1, -99, static_cast<int32_t>(kVocabulary)}) {
    labels_[5] = label;
    expect_error(ErrorCode::kInvalidArgument, "found " + std::to_string(label), [&] { run(hidden_, {}); });
  }
}

}  // namespace
}  // namespace beacon::ops::autograd
