// Losses and their sums against logits written out in double.
#include "train/sequence_loss.h"

#include "model/slow_twin.h"
#include "window/labels.h"

namespace beacon {
namespace {

using namespace beacon::testing;

class SequenceLossTest : public TensorTest {
 protected:
  void SetUp() override {
    TensorTest::SetUp();
    config_ = tiny_config();
    weights_ = tiny_weights(config_);
    options_.training = true;
    options_.window = options_.stride = 8;
    options_.ratio.ratios = {4, 2};
    options_.ratio.mix = RatioPolicy::Mix::kForced;
    plan_ = plan_sequence(options_, 19);
    for (int i = 0; i < 38; ++i) ids_.push_back(i * 7 % 20);
    labels_ = {shifted_labels(options_, {ids_.begin(), ids_.begin() + 19}),
               shifted_labels(options_, {ids_.begin() + 19, ids_.end()})};
    labels_[1][3] = kIgnoredLabel;
    labels_[0][12] = labels_[1][12] = kIgnoredLabel;
  }

  RecordedNetwork network() const {
    return {config_,
            frozen_base(weights_, at::kFloat),
            BeaconParameters::from(config_, weights_, {.q = true}, std::nullopt),
            ops::Rope(config_.rope, config_.head_dim, config_.max_position_embeddings),
            {ops::autograd::Recording::kPlain, at::kFloat}};
  }

  at::Tensor head() const {
    return at::from_blob(const_cast<std::byte*>(weights_.lm_head.data),
                         {config_.vocab_size, config_.hidden_size}, at::kFloat)
        .to(at::kDouble);
  }

  ModelConfig config_;
  ModelWeights weights_;
  WindowOptions options_;
  SequencePlan plan_;
  std::vector<int32_t> ids_;
  std::vector<std::vector<int32_t>> labels_;
};

TEST_F(SequenceLossTest, WantsTheRowsOfScoredTokens) {
  const RecordedNetwork net = network();
  SequenceLoss loss(net, plan_, labels_, {}, {}, {});
  // x0 x1 x2 x3 b x4 x5 x6 x7 b; token 3 is scored in one of the two sequences.
  EXPECT_THAT(loss.rows(0), ::testing::ElementsAre(0, 1, 2, 3, 5, 6, 7, 8));
  // x8 x9 b x10 x11 b x12 x13 b x14 x15 b without token 12.
  EXPECT_THAT(loss.rows(1), ::testing::ElementsAre(0, 1, 3, 4, 7, 9, 10));
  // The last token predicts nothing.
  EXPECT_THAT(loss.rows(2), ::testing::ElementsAre(0, 1));
}

TEST_F(SequenceLossTest, SumsAreThoseOfTheLogits) {
  const RecordedNetwork net = network();
  const at::Tensor teacher = at::randn({2, 19, config_.hidden_size});
  const LossWeights weights{.next_token = 0.5, .distillation = 2.0};
  std::vector<std::vector<float>> label_weights(2, std::vector<float>(19));
  for (size_t t = 0; t < 19; ++t) {
    label_weights[0][t] = 0.25F + static_cast<float>(t % 3);
    label_weights[1][t] = 1.5F;
  }
  SequenceLoss loss(net, plan_, labels_, label_weights, teacher, weights);
  double cross_entropy = 0, divergence = 0, total = 0, weight_sum = 0;
  std::map<int, double> by_ratio;
  int64_t tokens = 0;
  for (const size_t step : {size_t{2}, size_t{1}, size_t{0}}) {
    const auto rows = loss.rows(step);
    const at::Tensor hidden = at::randn({2, static_cast<int64_t>(rows.size()), config_.hidden_size});
    total += loss.loss(step, hidden).item<double>();
    for (int64_t b = 0; b < 2; ++b) {
      for (size_t i = 0; i < rows.size(); ++i) {
        const int64_t token = plan_.steps[step].tokens[static_cast<size_t>(rows[i])];
        const int32_t label = labels_[static_cast<size_t>(b)][static_cast<size_t>(token)];
        if (label == kIgnoredLabel) continue;
        const at::Tensor ours =
            at::log_softmax(at::mv(head(), hidden[b][static_cast<int64_t>(i)].to(at::kDouble)), 0);
        const at::Tensor theirs = at::log_softmax(at::mv(head(), teacher[b][token].to(at::kDouble)), 0);
        const double weight = label_weights[static_cast<size_t>(b)][static_cast<size_t>(token)];
        const double ce = -weight * ours[label].item<double>();
        cross_entropy += ce;
        by_ratio[step == 0 ? -1 : step == 1 ? 4 : 2] += ce;
        divergence += weight * (theirs.exp() * (theirs - ours)).sum().item<double>();
        weight_sum += weight;
        ++tokens;
      }
    }
  }
  const LossSums& sums = loss.sums();
  EXPECT_NEAR(sums.weight, weight_sum, 1e-6);
  EXPECT_EQ(tokens, 2 * 18 - 3);
  EXPECT_NEAR(sums.cross_entropy / cross_entropy, 1, 1e-5);
  EXPECT_NEAR(sums.divergence / divergence, 1, 1e-5);
  EXPECT_NEAR(sums.total / (0.5 * cross_entropy + 2 * divergence), 1, 1e-5);
  EXPECT_NEAR(total / sums.total, 1, 1e-5);
  ASSERT_EQ(sums.by_ratio.size(), 3U);
  for (const auto& [ratio, part] : sums.by_ratio)
    EXPECT_NEAR(part.cross_entropy / by_ratio[ratio], 1, 1e-5) << ratio;
}

TEST_F(SequenceLossTest, SumsAdd) {
  LossSums a{.total = 1, .cross_entropy = 2, .divergence = 3, .weight = 4, .by_ratio = {{2, {1, 1}}}};
  a.add({.total = 10,
         .cross_entropy = 20,
         .divergence = 30,
         .weight = 40,
         .by_ratio = {{2, {5, 6}}, {8, {7, 8}}}});
  EXPECT_EQ(a.total, 11);
  EXPECT_EQ(a.weight, 44);
  EXPECT_EQ(a.by_ratio[2].weight, 7);
  EXPECT_EQ(a.by_ratio[8].cross_entropy, 7);
}

}  // namespace
}  // namespace beacon
