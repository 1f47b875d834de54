#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "kernels/activation.h"

namespace beacon {
namespace {

constexpr std::array<char, 8> kStateTag = {'s', 'p', 'l', 'i', 't', 'm', 'x', '1'};

// Whether the largest one can be chosen: no NaN, no +inf, and not -inf alone. As strict as load_scores(),
// which names what is wrong.
bool are_usable(std::span<const float> logits) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  int bad = 0, finite = 0;
  for (const float x : logits) {
    bad |= static_cast<int>(!(x < kInfinity));
    finite |= static_cast<int>(x > -kInfinity);
  }
  return bad == 0 && finite != 0 && logits.size() <= std::numeric_limits<int32_t>::max();
}

void check_recent(std::span<const int32_t> seen, size_t vocab_size) {
  if (seen.empty()) return;
  const int32_t bad = seen.front() < 0 ? seen.front() : seen.back();
  require(seen.front() >= 0 && static_cast<size_t>(seen.back()) < vocab_size, ErrorCode::kInvalidArgument,
          "recent tokens must be in 0..{}, found {}", vocab_size - 1, bad);
}

}  // namespace

void validate(const SamplingOptions& o) {
  constexpr auto kCode = ErrorCode::kInvalidArgument;
  const auto in_unit = [](float value) { return value >= 0.0F && value <= 1.0F; };
  require(std::isfinite(o.temperature) && o.temperature >= 0.0F, kCode,
          "temperature must be a number >= 0 (0 = greedy), found {}", o.temperature);
  require(o.top_k >= 0, kCode, "top_k must be >= 0 (0 = off), found {}", o.top_k);
  require(in_unit(o.top_p), kCode, "top_p must be in [0, 1] (1 = off), found {}", o.top_p);
  require(in_unit(o.min_p), kCode, "min_p must be in [0, 1] (0 = off), found {}", o.min_p);
  require(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0.0F, kCode,
          "repetition_penalty must be a number > 0 (1 = off), found {}", o.repetition_penalty);
  require(o.repetition_window >= 0, kCode, "repetition_window must be >= 0 (0 = all tokens), found {}",
          o.repetition_window);
}

uint64_t SplitMix64::next() {
  state_ += 0x9E3779B97F4A7C15U;
  uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
  return z ^ (z >> 31);
}

double SplitMix64::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

double portable_exp(double x) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;
  // ln 2 in two parts; the first has 21 trailing zero bits, so its product with k is exact.
  constexpr double kLn2High = 0x1.62e42feep-1;
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  if (x < -708.0) return 0.0;
  const double k = std::floor(x * kLog2E + 0.5);
  const double r = (x - k * kLn2High) - k * kLn2Low;
  // Taylor series on |r| <= ln(2) / 2: the first term left out is below 2^-60.
  double sum = 1.0;
  for (int n = 14; n >= 1; --n) sum = 1.0 + sum * r / n;
  return std::ldexp(sum, static_cast<int>(k));
}

Sampler::Sampler(const SamplingOptions& options) : options_(options), generator_(options.seed) {
  validate(options_);
}

bool Sampler::before(const Candidate& a, const Candidate& b) {
  return a.score != b.score ? a.score > b.score : a.id < b.id;
}

int32_t Sampler::sample(std::span<const float> logits, std::span<const int32_t> recent) {
  if (options_.temperature == 0.0F && options_.repetition_penalty == 1.0F && are_usable(logits)) {
    return static_cast<int32_t>(kernels::argmax(logits.data(), static_cast<int64_t>(logits.size())));
  }
  load_scores(logits, recent);
  if (options_.temperature == 0.0F) {
    return std::min_element(candidates_.begin(), candidates_.end(), before)->id;
  }
  keep_top_k();
  weigh();
  keep_top_p();
  keep_min_p();
  return draw();
}

void Sampler::load_scores(std::span<const float> logits, std::span<const int32_t> recent) {
  require(!logits.empty() && logits.size() <= std::numeric_limits<int32_t>::max(),
          ErrorCode::kInvalidArgument, "logits of at least one token were expected, found {}", logits.size());
  seen_.clear();
  if (options_.repetition_penalty != 1.0F) {
    const auto window = static_cast<size_t>(options_.repetition_window);
    if (window > 0 && recent.size() > window) recent = recent.last(window);
    seen_.assign(recent.begin(), recent.end());
    std::sort(seen_.begin(), seen_.end());
    seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
    check_recent(seen_, logits.size());
  }

  candidates_.clear();
  const double penalty = options_.repetition_penalty;
  auto seen = seen_.begin();
  for (size_t i = 0; i < logits.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    double score = logits[i];
    require(!(std::isnan(score) || score == std::numeric_limits<double>::infinity()), ErrorCode::kBadFile,
            "the logit of token {} is {}: the model or its arithmetic is broken", id, score);
    if (seen != seen_.end() && *seen == id) {
      score = score > 0.0 ? score / penalty : score * penalty;
      ++seen;
    }
    if (score != -std::numeric_limits<double>::infinity()) candidates_.push_back({id, score, 0.0});
  }
  require(!candidates_.empty(), ErrorCode::kBadFile, "all {} logits are -inf: no token can be chosen",
          logits.size());
}

void Sampler::keep_top_k() {
  const auto k = static_cast<size_t>(options_.top_k);
  if (k == 0 || k >= candidates_.size()) return;
  std::nth_element(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(k), candidates_.end(),
                   before);
  candidates_.resize(k);
  // The order nth_element leaves is the library's own; sums below must not depend on it.
  std::sort(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
}

void Sampler::weigh() {
  const double best = std::min_element(candidates_.begin(), candidates_.end(), before)->score;
  const double temperature = options_.temperature;
  for (auto& c : candidates_) c.weight = portable_exp((c.score - best) / temperature);
}

void Sampler::keep_top_p() {
  if (options_.top_p >= 1.0F) return;
  double total = 0.0;
  for (const auto& c : candidates_) total += c.weight;
  const double wanted = static_cast<double>(options_.top_p) * total;

  // Few tokens usually reach the mass: sort the best 128, then four times as many, until they do.
  size_t sorted = 0;
  size_t kept = 0;
  double mass = 0.0;
  while (kept < candidates_.size() && (kept == 0 || mass < wanted)) {
    if (kept == sorted) {
      sorted = std::min(candidates_.size(), std::max<size_t>(128, sorted * 4));
      const auto from = candidates_.begin() + static_cast<ptrdiff_t>(kept);
      std::partial_sort(from, candidates_.begin() + static_cast<ptrdiff_t>(sorted), candidates_.end(),
                        before);
    }
    mass += candidates_[kept++].weight;
  }
  candidates_.resize(kept);
  std::sort(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
}

void Sampler::keep_min_p() {
  if (options_.min_p <= 0.0F) return;
  // The best weight is 1, so weights are already relative to it.
  const double least = options_.min_p;
  std::erase_if(candidates_, [least](const Candidate& c) { return c.weight < least; });
}

int32_t Sampler::draw() {
  double total = 0.0;
  for (const auto& c : candidates_) total += c.weight;
  const double target = generator_.uniform() * total;
  double mass = 0.0;
  int32_t chosen = candidates_.front().id;
  for (const auto& c : candidates_) {
    if (c.weight <= 0.0) continue;
    chosen = c.id;
    mass += c.weight;
    if (mass > target) break;
  }
  return chosen;
}

std::vector<std::byte> Sampler::state() const {
  std::vector<std::byte> bytes(16);
  std::memcpy(bytes.data(), kStateTag.data(), kStateTag.size());
  for (size_t i = 0; i < 8; ++i) bytes[8 + i] = static_cast<std::byte>(generator_.state() >> (8 * i));
  return bytes;
}

void Sampler::restore(std::span<const std::byte> state) {
  require(state.size() == 16 && std::memcmp(state.data(), kStateTag.data(), kStateTag.size()) == 0,
          ErrorCode::kBadFile,
          "a sampler state is 16 bytes beginning with 'splitmx1', found {} bytes of another kind",
          state.size());
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value |= std::to_integer<uint64_t>(state[8 + i]) << (8 * i);
  generator_ = SplitMix64(value);
}

}  // namespace beacon
