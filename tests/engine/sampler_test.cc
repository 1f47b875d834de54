#include "engine/sampler.h"

#include <beacon/error.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>

namespace beacon {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    return e.code();
  }
  ADD_FAILURE() << "no error was thrown";
  return ErrorCode::kInternal;
}

// The slow twin: whole sorted lists, long double, std::exp, one pass per rule of sampling.h. Ascending ids.
std::map<int32_t, long double> twin_distribution(const SamplingOptions& o, const std::vector<float>& logits,
                                                 std::vector<int32_t> recent) {
  if (o.repetition_window > 0 && recent.size() > static_cast<size_t>(o.repetition_window))
    recent.erase(recent.begin(), recent.end() - o.repetition_window);
  std::vector<std::pair<long double, int32_t>> list;
  for (size_t i = 0; i < logits.size(); ++i) {
    long double x = logits[i];
    if (std::find(recent.begin(), recent.end(), static_cast<int32_t>(i)) != recent.end())
      x = x < 0 ? x * o.repetition_penalty : x / o.repetition_penalty;
    list.emplace_back(-x / o.temperature, static_cast<int32_t>(i));
  }
  std::sort(list.begin(), list.end());  // by falling score, then rising id
  if (o.top_k > 0 && static_cast<size_t>(o.top_k) < list.size()) list.resize(static_cast<size_t>(o.top_k));
  const auto normalise = [&] {
    long double total = 0;
    std::vector<long double> p;
    for (const auto& [negative, id] : list) total += std::exp(-negative + list[0].first);
    for (const auto& [negative, id] : list) p.push_back(std::exp(-negative + list[0].first) / total);
    return p;
  };
  if (o.top_p < 1) {
    const auto p = normalise();
    size_t kept = 0;
    for (long double mass = 0; kept < p.size() && (kept == 0 || mass < o.top_p); ++kept) mass += p[kept];
    list.resize(kept);
  }
  if (o.min_p > 0) {
    const auto p = normalise();
    size_t kept = 0;
    while (kept < p.size() && p[kept] >= o.min_p * p[0]) ++kept;
    list.resize(kept);
  }
  std::map<int32_t, long double> result;
  const auto p = normalise();
  for (size_t i = 0; i < list.size(); ++i) result[list[i].second] = p[i];
  return result;
}

int32_t twin_draw(const std::map<int32_t, long double>& distribution, double uniform) {
  long double mass = 0;
  for (const auto& [id, p] : distribution) {
    mass += p;
    if (mass > uniform) return id;
  }
  return distribution.rbegin()->first;
}

// Pearson's statistic of n draws in standard deviations above its mean (about normal for the sizes used
// here).
double chi_square_excess(Sampler& sampler, const std::vector<float>& logits,
                         const std::vector<int32_t>& recent, const std::map<int32_t, long double>& expected,
                         int n) {
  std::map<int32_t, int> counts;
  for (int i = 0; i < n; ++i) ++counts[sampler.sample(logits, recent)];
  double chi = 0;
  for (const auto& [id, p] : expected) {
    const double e = static_cast<double>(p) * n;
    chi += (counts[id] - e) * (counts[id] - e) / e;
  }
  for (const auto& [id, count] : counts)
    if (count > 0 && !expected.contains(id)) return 1e9;
  const double df = std::max(1.0, static_cast<double>(expected.size()) - 1);
  return (chi - df) / std::sqrt(2 * df);
}

// Published vector of the generator (seed 1234567), as listed for Vigna's splitmix64.c.
TEST(SplitMix64, MatchesThePublishedVector) {
  SplitMix64 g(1234567);
  for (const uint64_t expected : {6457827717110365317U, 3203168211198807973U, 9817491932198370423U,
                                  4593380528125082431U, 16408922859458223821U})
    EXPECT_EQ(g.next(), expected);
}

TEST(SplitMix64, UniformIsTheTop53Bits) {
  SplitMix64 g(1234567);
  EXPECT_EQ(g.uniform(), std::ldexp(static_cast<double>(6457827717110365317U / 2048), -53));
}

TEST(PortableExp, IsWithinTwoUlpOfLibm) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200000; ++i) {
    const double x = -std::ldexp(static_cast<double>(random() >> 11), -53) * (i % 2 == 0 ? 1.0 : 708.0);
    const double expected = std::exp(x);
    const double ulp = std::nextafter(expected, kInf) - expected;
    ASSERT_LE(std::abs(portable_exp(x) - expected), 2 * ulp) << x;
  }
  EXPECT_EQ(portable_exp(0.0), 1.0);
  EXPECT_EQ(portable_exp(-1e300), 0.0);
  EXPECT_EQ(portable_exp(-std::numeric_limits<double>::infinity()), 0.0);
}

TEST(Sampler, GreedyTakesTheBestAndTheLowestIdOfTies) {
  Sampler s(SamplingOptions{});
  EXPECT_EQ(s.sample(std::vector<float>{-1, 3, 2, 3}, {}), 1);
  EXPECT_EQ(s.sample(std::vector<float>{-kInf, -kInf, -5}, {}), 2);
  EXPECT_EQ(s.sample(std::vector<float>{0.0F, -0.0F}, {}), 0);
  SamplingOptions o;
  o.repetition_penalty = 2;
  Sampler penalised(o);
  EXPECT_EQ(penalised.sample(std::vector<float>{1, 3, 2}, std::vector<int32_t>{1}), 2);
  EXPECT_EQ(penalised.sample(std::vector<float>{-3, -2, -5}, std::vector<int32_t>{1, 1, 1}), 0);
}

TEST(Sampler, RepetitionWindowCountsTheLastTokensOnly) {
  SamplingOptions o;
  o.repetition_penalty = 2;
  o.repetition_window = 2;
  const std::vector<float> logits{1, 3, 2};
  EXPECT_EQ(Sampler(o).sample(logits, std::vector<int32_t>{1, 0, 0}), 1);
  EXPECT_EQ(Sampler(o).sample(logits, std::vector<int32_t>{0, 1, 0}), 2);
  o.repetition_window = 0;
  EXPECT_EQ(Sampler(o).sample(logits, std::vector<int32_t>{1, 0, 0}), 2);
}

TEST(Sampler, TopKOneIsGreedyAndTopKBreaksTiesByLowestId) {
  SamplingOptions o;
  o.temperature = 1;
  o.top_k = 2;
  o.seed = 3;
  Sampler s(o);
  std::set<int32_t> seen;
  for (int i = 0; i < 200; ++i) seen.insert(s.sample(std::vector<float>{1, 5, 5, 5, 5}, {}));
  EXPECT_EQ(seen, (std::set<int32_t>{1, 2}));
}

TEST(Sampler, TopPOfZeroAndMinPOfOneKeepTheBestOnly) {
  SamplingOptions o;
  o.temperature = 2;
  o.top_p = 0;
  Sampler top_p(o);
  o.top_p = 1;
  o.min_p = 1;
  Sampler min_p(o);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(top_p.sample(std::vector<float>{1, 2, 1.99F}, {}), 1);
    EXPECT_EQ(min_p.sample(std::vector<float>{1, 2, 1.99F}, {}), 1);
  }
}

// Every id equals the twin's, drawn by inverting the cumulated probabilities in ascending id.
TEST(Sampler, EqualsTheSlowTwinOnRandomOptions) {
  std::mt19937_64 random(11);
  const auto unit = [&] { return std::ldexp(static_cast<double>(random() >> 11), -53); };
  for (int round = 0; round < 4000; ++round) {
    const size_t vocab = round % 50 == 0 ? 1500 : 1 + random() % 40;
    std::vector<float> logits(vocab);
    for (auto& x : logits) x = static_cast<float>(std::round((unit() - 0.5) * 40) / (round % 3 == 0 ? 2 : 7));
    std::vector<int32_t> recent(random() % 12);
    for (auto& id : recent) id = static_cast<int32_t>(random() % vocab);
    SamplingOptions o;
    o.temperature = static_cast<float>(0.05 + 2 * unit());
    if (random() % 2) o.top_k = static_cast<int>(random() % 30);
    if (random() % 2) o.top_p = static_cast<float>(unit());
    if (random() % 2) o.min_p = static_cast<float>(unit() * 0.5);
    if (random() % 2) o.repetition_penalty = static_cast<float>(0.5 + 1.5 * unit());
    o.repetition_window = static_cast<int>(random() % 8);
    o.seed = random();
    Sampler sampler(o);
    SplitMix64 generator(o.seed);
    const auto expected = twin_distribution(o, logits, recent);
    for (int i = 0; i < 5; ++i)
      ASSERT_EQ(sampler.sample(logits, recent), twin_draw(expected, generator.uniform()))
          << "round " << round << " T " << o.temperature << " k " << o.top_k << " p " << o.top_p << " min "
          << o.min_p;
  }
}

// Probabilities computed with the logits processors of Hugging Face transformers 4.57 (RepetitionPenalty,
// Temperature, TopK, TopP, MinP, in this order, each only when it is on), softmax in double.
TEST(Sampler, DrawsFromTheDistributionOfTransformers) {
  struct Case {
    SamplingOptions options;
    std::vector<int32_t> recent;
    std::vector<double> p;
  };
  const std::vector<float> logits{2.0F, -1.5F, 0.25F, 3.0F, 1.0F, -0.5F,
                                  2.5F, 0.75F, -3.0F, 1.5F, 0.1F, 2.9F};
  const std::vector<Case> cases{
      {{1.0F, 0, 1.0F, 0.0F, 1.0F},
       {0},
       {0.1049331, 0.0031687, 0.0182346, 0.2852377, 0.0386027, 0.0086134, 0.1730054, 0.0300638, 0.0007070,
        0.0636451, 0.0156947, 0.2580937}},
      {{0.7F, 5, 1.0F, 0.0F, 1.0F},
       {0},
       {0.0883216, 0, 0, 0.3685426, 0, 0, 0.1804170, 0, 0, 0.0432371, 0, 0.3194816}},
      {{1.3F, 0, 0.8F, 0.0F, 1.0F},
       {0},
       {0.1368703, 0, 0, 0.2953805, 0, 0, 0.2010692, 0, 0, 0.0931693, 0, 0.2735109}},
      {{1.0F, 0, 1.0F, 0.15F, 1.0F},
       {0},
       {0.1185798, 0, 0, 0.3223334, 0, 0, 0.1955051, 0, 0, 0.0719223, 0, 0.2916594}},
      {{0.9F, 8, 0.9F, 0.1F, 1.2F},
       {3, 3, 8, 11, 1},
       {0.1504133, 0, 0, 0.2621568, 0, 0, 0.2621568, 0, 0, 0.0863002, 0, 0.2389729}},
      {{1.5F, 0, 0.95F, 0.05F, 1.5F},
       {6, 9, 5},
       {0.1311442, 0, 0.0408387, 0.2554340, 0.0673317, 0, 0.1050120, 0.0569950, 0, 0.0673317, 0.0369524,
        0.2389603}},
  };
  for (size_t c = 0; c < cases.size(); ++c) {
    std::map<int32_t, long double> expected;
    for (size_t i = 0; i < logits.size(); ++i)
      if (cases[c].p[i] > 0) expected[static_cast<int32_t>(i)] = cases[c].p[i];
    // The twin first: it has no statistical error.
    const auto twin = twin_distribution(cases[c].options, logits, cases[c].recent);
    ASSERT_EQ(twin.size(), expected.size()) << "case " << c;
    for (const auto& [id, p] : twin) {
      ASSERT_TRUE(expected.contains(id)) << "case " << c << " id " << id;
      EXPECT_NEAR(static_cast<double>(p), static_cast<double>(expected.at(id)), 2e-7) << "case " << c;
    }
    auto options = cases[c].options;
    options.seed = 100 + c;
    Sampler sampler(options);
    EXPECT_LT(chi_square_excess(sampler, logits, cases[c].recent, expected, 40000), 4.0) << "case " << c;
  }
}

TEST(Sampler, TheBoundOfTheStatisticalTestCanFail) {
  const std::vector<float> logits{2.0F, -1.5F, 0.25F, 3.0F, 1.0F, -0.5F, 2.5F, 0.75F};
  SamplingOptions o;
  o.temperature = 1;
  const auto expected = twin_distribution(o, logits, {});
  o.temperature = 1.05F;
  Sampler slightly_off(o);
  EXPECT_GT(chi_square_excess(slightly_off, logits, {}, expected, 40000), 4.0);
}

TEST(Sampler, SameSeedSameTokensAndStateContinues) {
  SamplingOptions o;
  o.temperature = 1;
  o.seed = 42;
  const std::vector<float> logits(1000, 0.0F);
  Sampler a(o);
  Sampler b(o);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(a.sample(logits, {}), b.sample(logits, {}));
  const auto state = a.state();
  std::vector<int32_t> rest;
  for (int i = 0; i < 20; ++i) rest.push_back(a.sample(logits, {}));
  o.seed = 43;
  Sampler c(o);
  std::vector<int32_t> other;
  for (int i = 0; i < 20; ++i) other.push_back(c.sample(logits, {}));
  EXPECT_NE(rest, other);
  c.restore(state);
  for (const int32_t id : rest) EXPECT_EQ(c.sample(logits, {}), id);
}

TEST(Sampler, StateBytesAreLittleEndian) {
  SamplingOptions o;
  o.seed = 0x0102030405060708U;
  const auto state = Sampler(o).state();
  ASSERT_EQ(state.size(), 16U);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(state.data()), 8), "splitmx1");
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(std::to_integer<size_t>(state[8 + i]), 8 - i);
}

TEST(Sampler, RestoreRefusesOtherBytes) {
  Sampler s(SamplingOptions{});
  auto state = s.state();
  EXPECT_EQ(code_of([&] { s.restore(std::span(state).first(15)); }), ErrorCode::kBadFile);
  state[0] = std::byte{'x'};
  EXPECT_EQ(code_of([&] { s.restore(state); }), ErrorCode::kBadFile);
}

TEST(Sampler, RefusesBadLogitsAndKeepsItsState) {
  SamplingOptions o;
  o.temperature = 1;
  o.repetition_penalty = 1.5F;
  Sampler s(o);
  const auto before = s.state();
  EXPECT_EQ(code_of([&] { s.sample(std::vector<float>{}, {}); }), ErrorCode::kInvalidArgument);
  const std::vector<std::vector<float>> bad{{1, kNaN}, {kNaN}, {1, kInf}, {-kInf, -kInf}};
  Sampler greedy(SamplingOptions{});
  EXPECT_EQ(code_of([&] { greedy.sample(std::vector<float>{}, {}); }), ErrorCode::kInvalidArgument);
  for (const auto& logits : bad) {
    EXPECT_EQ(code_of([&] { s.sample(logits, {}); }), ErrorCode::kBadFile) << logits.size();
    EXPECT_EQ(code_of([&] { greedy.sample(logits, {}); }), ErrorCode::kBadFile) << logits.size();
  }
  const std::vector<float> good{1, 2};
  EXPECT_EQ(code_of([&] { s.sample(good, std::vector<int32_t>{2}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code_of([&] { s.sample(good, std::vector<int32_t>{-1, 0}); }), ErrorCode::kInvalidArgument);
  EXPECT_EQ(s.state(), before);
}

TEST(Sampler, MaskedTokensAreNeverDrawn) {
  SamplingOptions o;
  o.temperature = 100;
  o.repetition_penalty = 1.5F;
  Sampler s(o);
  for (int i = 0; i < 500; ++i)
    EXPECT_NE(s.sample(std::vector<float>{0, -kInf, 0}, std::vector<int32_t>{1}), 1);
}

TEST(Sampler, ExtremeNumbersStayFinite) {
  SamplingOptions o;
  o.temperature = std::numeric_limits<float>::denorm_min();
  o.repetition_penalty = std::numeric_limits<float>::denorm_min();
  constexpr float kMax = std::numeric_limits<float>::max();
  Sampler s(o);
  EXPECT_EQ(s.sample(std::vector<float>{kMax, -kMax}, std::vector<int32_t>{0, 1}), 0);
  o.temperature = kMax;
  o.repetition_penalty = kMax;
  o.min_p = 1e-30F;
  Sampler flat(o);
  std::set<int32_t> seen;
  for (int i = 0; i < 200; ++i)
    seen.insert(flat.sample(std::vector<float>{1, 0, -1}, std::vector<int32_t>{0}));
  EXPECT_EQ(seen.size(), 3U);
}

TEST(SamplingOptions, EachFieldOutOfRangeIsNamed) {
  const auto message = [](auto change) -> std::string {
    SamplingOptions o;
    change(o);
    try {
      Sampler s(o);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
      return std::string(e.what()).substr(0, std::string(e.what()).find(' '));
    }
    return "accepted";
  };
  for (const float bad : {-0.1F, kNaN, kInf}) {
    EXPECT_EQ(message([&](auto& o) { o.temperature = bad; }), "temperature");
    EXPECT_EQ(message([&](auto& o) { o.top_p = bad; }), "top_p");
    EXPECT_EQ(message([&](auto& o) { o.min_p = bad; }), "min_p");
    EXPECT_EQ(message([&](auto& o) { o.repetition_penalty = bad; }), "repetition_penalty");
  }
  EXPECT_EQ(message([](auto& o) { o.top_p = 1.01F; }), "top_p");
  EXPECT_EQ(message([](auto& o) { o.min_p = 1.01F; }), "min_p");
  EXPECT_EQ(message([](auto& o) { o.repetition_penalty = 0; }), "repetition_penalty");
  EXPECT_EQ(message([](auto& o) { o.top_k = -1; }), "top_k");
  EXPECT_EQ(message([](auto& o) { o.repetition_window = -1; }), "repetition_window");
  EXPECT_EQ(message([](auto&) {}), "accepted");
}

}  // namespace
}  // namespace beacon
