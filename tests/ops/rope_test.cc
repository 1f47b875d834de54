// Frequencies against formulas written out from the papers and the documentation of transformers, in double.
#include "ops/rope.h"

#include <numbers>

#include "ops/tensor_check.h"

namespace beacon::ops {
namespace {

using namespace beacon::testing;

constexpr int64_t kHeadDim = 32;
constexpr int64_t kTrained = 256;  // max_position_embeddings
constexpr double kTwoPi = 2 * std::numbers::pi;

RopeConfig config_of(RopeKind kind, double factor) {
  RopeConfig config;
  config.kind = kind;
  config.theta = 10000.0;
  config.factor = factor;
  config.original_max_position_embeddings = kTrained;
  return config;
}

class RopeTest : public TensorTest {
 protected:
  // cos and sin of position * frequency, times the scale.
  static void expect_table(const Rope& rope, const at::Tensor& frequencies, double scale = 1.0,
                           int64_t longest = kTrained) {
    const std::vector<int32_t> positions = {0, 1, 2, 17, 255, 256, 4095, 100000};
    const RopeTable table = rope.table(positions, longest);
    const at::Tensor angle = angles(positions, frequencies);
    // The frequency and its product with the position are rounded to f32; so is the result.
    const at::Tensor tolerance = (angle * 2.1 + 3) * kEpsF32 * scale;
    expect_close(table.cos, angle.cos() * scale, tolerance);
    expect_close(table.sin, angle.sin() * scale, tolerance);
    const RopeTable run = rope.table(254, 3, longest);
    expect_equal(run.cos.narrow(0, 1, 2), table.cos.narrow(0, 4, 2));
    expect_equal(run.sin.narrow(0, 1, 2), table.sin.narrow(0, 4, 2));
  }
};

// YaRN (Peng et al. 2023): dimension i turns L theta^(-2i/H) / 2 pi times within the L trained positions.
// Below the dimension that turns beta_fast times nothing changes, beyond that of beta_slow the frequency is
// divided by the factor.
at::Tensor yarn(double factor, double beta_fast, double beta_slow, bool truncate, double trained,
                double theta = 10000.0) {
  const at::Tensor plain = plain_frequencies(theta, kHeadDim);
  // Solves trained * theta^(-2i/H) / 2 pi = turns for i by bisection.
  const auto dimension = [&](double turns) {
    double low = -1000, high = 1000;
    for (int step = 0; step < 200; ++step) {
      const double i = (low + high) / 2;
      (trained * std::pow(theta, -2 * i / kHeadDim) / kTwoPi > turns ? low : high) = i;
    }
    return low;
  };
  double first = dimension(beta_fast), last = dimension(beta_slow);
  if (truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, kHeadDim - 1.0);
  at::Tensor out = plain.clone();
  for (int64_t i = 0; i < kHeadDim / 2; ++i) {
    double stretched = (static_cast<double>(i) - first) / (last - first);
    stretched = std::min(1.0, std::max(0.0, stretched));
    const double f = plain[i].item<double>();
    out[i] = f * (1 - stretched) + f / factor * stretched;
  }
  return out;
}

TEST_F(RopeTest, Default) {
  expect_table(Rope(config_of(RopeKind::kDefault, 1), kHeadDim, kTrained),
               plain_frequencies(10000, kHeadDim));
  RopeConfig config = config_of(RopeKind::kDefault, 1);
  config.theta = 500000;
  expect_table(Rope(config, kHeadDim, kTrained), plain_frequencies(500000, kHeadDim));
}

TEST_F(RopeTest, LinearDividesPositions) {
  expect_table(Rope(config_of(RopeKind::kLinear, 4), kHeadDim, kTrained),
               plain_frequencies(10000, kHeadDim) / 4);
}

TEST_F(RopeTest, DynamicRaisesTheBaseBeyondTheTrainedLength) {
  const Rope rope(config_of(RopeKind::kDynamic, 2), kHeadDim, kTrained);
  EXPECT_TRUE(rope.follows_length());
  expect_table(rope, plain_frequencies(10000, kHeadDim), 1.0, 10);
  expect_table(rope, plain_frequencies(10000, kHeadDim), 1.0, kTrained);
  for (const double longest : {257.0, 1000.0}) {
    const double base = 10000 * std::pow(2 * longest / kTrained - 1, kHeadDim / (kHeadDim - 2.0));
    expect_table(rope, plain_frequencies(base, kHeadDim), 1.0, static_cast<int64_t>(longest));
  }
}

TEST_F(RopeTest, YarnWithItsOwnAttentionFactor) {
  const Rope rope(config_of(RopeKind::kYarn, 8), kHeadDim, 8 * kTrained);
  EXPECT_FALSE(rope.follows_length());
  expect_table(rope, yarn(8, 32, 1, true, kTrained), 0.1 * std::log(8.0) + 1);
}

TEST_F(RopeTest, YarnWithGivenBetasAndAttentionFactor) {
  RopeConfig config = config_of(RopeKind::kYarn, 8);
  config.beta_fast = 16;
  config.beta_slow = 2;
  config.attention_factor = 1.3;
  config.mscale = config.mscale_all_dim = 0.7;  // the given factor wins
  expect_table(Rope(config, kHeadDim, kTrained), yarn(8, 16, 2, true, kTrained), 1.3);
  config.truncate = false;
  expect_table(Rope(config, kHeadDim, kTrained), yarn(8, 16, 2, false, kTrained), 1.3);
}

TEST_F(RopeTest, YarnWithMscales) {
  RopeConfig config = config_of(RopeKind::kYarn, 8);
  const double log = std::log(8.0);
  config.mscale = 1.0;
  config.mscale_all_dim = 0.5;
  expect_table(Rope(config, kHeadDim, kTrained), yarn(8, 32, 1, true, kTrained),
               (0.1 * log + 1) / (0.05 * log + 1));
  config.mscale_all_dim = std::nullopt;  // both or none
  expect_table(Rope(config, kHeadDim, kTrained), yarn(8, 32, 1, true, kTrained), 0.1 * log + 1);
}

TEST_F(RopeTest, YarnOfFactorOneIsPlain) {
  expect_table(Rope(config_of(RopeKind::kYarn, 1), kHeadDim, kTrained), plain_frequencies(10000, kHeadDim));
}

// The original Activation Beacon code: betas 128 and 2 over max_position_embeddings, 0.07 ln(factor) + 1.
TEST_F(RopeTest, YarnOfTheOriginal) {
  RopeConfig config = config_of(RopeKind::kYarn, 8);
  config.original_beacon_yarn = true;
  config.original_max_position_embeddings = 64;  // not looked at
  config.beta_fast = 5;
  config.attention_factor = 3.0;
  config.truncate = false;
  expect_table(Rope(config, kHeadDim, 32768), yarn(8, 128, 2, true, 32768), 0.07 * std::log(8.0) + 1);
}

TEST_F(RopeTest, Llama3) {
  RopeConfig config = config_of(RopeKind::kLlama3, 8);
  config.low_freq_factor = 1;
  config.high_freq_factor = 4;
  at::Tensor expected = plain_frequencies(10000, kHeadDim);
  int blended = 0;
  for (int64_t i = 0; i < kHeadDim / 2; ++i) {
    const double f = expected[i].item<double>();
    const double turns = kTrained * f / kTwoPi;  // within the trained positions
    // 4 turns or more: as it is; 1 or fewer: divided; between: linear in the number of turns.
    const double kept = std::min(1.0, std::max(0.0, (turns - 1) / (4 - 1)));
    blended += kept > 0 && kept < 1 ? 1 : 0;
    expected[i] = f * kept + f / 8 * (1 - kept);
  }
  ASSERT_GT(blended, 0);
  expect_table(Rope(config, kHeadDim, kTrained), expected);
}

TEST_F(RopeTest, DivisorsReplaceTheScaling) {
  std::vector<float> divisors(kHeadDim / 2);
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] = 1.0F + 0.5F * static_cast<float>(i);
  const at::Tensor expected = plain_frequencies(10000, kHeadDim) / at::tensor(divisors, at::kDouble);
  expect_table(Rope(config_of(RopeKind::kDefault, 1), kHeadDim, kTrained, divisors), expected);
  expect_table(Rope(config_of(RopeKind::kLlama3, 8), kHeadDim, kTrained, divisors), expected);
  expect_error(ErrorCode::kInternal, "divisors->size()", [] {
    Rope(config_of(RopeKind::kDefault, 1), kHeadDim, kTrained, std::vector<float>(3, 1.0F));
  });
}

TEST_F(RopeTest, ApplyTurnsPairsAndRepeatsTheTable) {
  const Rope rope(config_of(RopeKind::kDefault, 1), kHeadDim, kTrained);
  const std::vector<int32_t> positions = {5, 6, 3, 90, 2};
  const RopeTable table = rope.table(positions, 0);
  const at::Tensor x = at::randn({3, 5, 4, kHeadDim});  // [B, T, heads, H]
  const at::Tensor angle = angles(positions, plain_frequencies(10000, kHeadDim));
  const at::Tensor by_row = x.transpose(1, 2);  // [B, heads, T, H]
  const at::Tensor expected = turned(by_row, angle).transpose(1, 2).reshape({15, 4, kHeadDim});
  const at::Tensor tolerance = turn_tolerance(by_row, angle).transpose(1, 2).reshape({15, 4, kHeadDim});

  const at::Tensor flat = x.view({15, 4, kHeadDim});
  const at::Tensor y = at::empty_like(flat);
  apply_rope(flat, table, y);
  expect_close(y, expected, tolerance);
  const at::Tensor in_place = flat.clone();
  apply_rope(in_place, table, in_place);
  expect_equal(in_place, y);
  // Heads inside wider rows; the columns around them stay.
  const at::Tensor wide = at::full({15, 6, kHeadDim + 3}, 9.0F);
  const at::Tensor inner = wide.narrow(1, 1, 4).narrow(2, 2, kHeadDim);
  inner.copy_(flat);
  apply_rope(inner, table, inner);
  expect_equal(inner.contiguous(), y);
  EXPECT_EQ((wide == 9.0F).sum().item<int64_t>(), wide.numel() - inner.numel());
}

TEST_F(RopeTest, ApplyRefusesWhatDoesNotFit) {
  const Rope rope(config_of(RopeKind::kDefault, 1), kHeadDim, kTrained);
  const at::Tensor x = at::randn({5, 1, kHeadDim});
  expect_error(ErrorCode::kInternal, "rows", [&] { apply_rope(x, rope.table(0, 2, 0), x); });
  const at::Tensor narrow = at::randn({4, 1, kHeadDim - 2});
  expect_error(ErrorCode::kInternal, "table.cos.size(1)",
               [&] { apply_rope(narrow, rope.table(0, 2, 0), narrow); });
  const at::Tensor none = at::empty({0, 1, kHeadDim});
  apply_rope(none, rope.table(0, 0, 0), none);  // nothing to turn
}

TEST_F(RopeTest, ShiftLeadsFromOnePositionToAnother) {
  for (const RopeKind kind : {RopeKind::kDefault, RopeKind::kLinear, RopeKind::kYarn, RopeKind::kLlama3}) {
    SCOPED_TRACE(to_string(kind));
    const Rope rope(config_of(kind, kind == RopeKind::kDefault ? 1 : 4), kHeadDim, kTrained);
    const at::Tensor x = at::randn({6, 2, kHeadDim});
    for (const int64_t to : {0, 30, 31, 200}) {
      const at::Tensor y = at::empty_like(x), expected = at::empty_like(x);
      apply_rope(x, rope.table(30, 6, 0), y);
      apply_rope(y, rope.shift(to - 30), y);
      apply_rope(x, rope.table(to, 6, 0), expected);
      // Angles below 210 radians in all, each rounded twice; the pairs are at most 8 long.
      expect_close(y, expected, 8 * 1.2 * (2 * 420 + 12) * kEpsF32);
    }
  }
}

// A coarse shift would pass the bound above, so one that is known exactly: the scale is not applied twice.
TEST_F(RopeTest, ShiftKeepsTheLength) {
  const Rope rope(config_of(RopeKind::kYarn, 8), kHeadDim, kTrained);
  const RopeTable table = rope.shift(-3);
  expect_close(table.cos.square() + table.sin.square(), at::ones({1, kHeadDim / 2}), 4 * kEpsF32);
  expect_error(ErrorCode::kInternal, "follows_length", [] {
    static_cast<void>(Rope(config_of(RopeKind::kDynamic, 2), kHeadDim, kTrained).shift(1));
  });
}

}  // namespace
}  // namespace beacon::ops
