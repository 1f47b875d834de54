#pragma once
// Random numbers that are the same on every machine and can be saved.
#include <cstdint>
#include <initializer_list>
#include <utility>
#include <vector>

namespace beacon {

// SplitMix64: the state grows by the golden-ratio constant, the output is a mix of it. The state is the whole
// generator. A stream is named by a seed and any numbers (purpose, epoch, index), so that streams do not
// depend on how much others have drawn. Not for secrets; not thread-safe.
class Random {
 public:
  explicit Random(uint64_t seed, std::initializer_list<uint64_t> stream = {}) : state_(seed) {
    for (const uint64_t name : stream) state_ = mix(state_ + kStep) ^ mix(name * kStep + 1);
  }

  uint64_t state() const { return state_; }
  void set_state(uint64_t state) { state_ = state; }

  uint64_t next() { return mix(state_ += kStep); }

  // Uniform in [0, bound), bound > 0: outputs of the incomplete last round are rejected, so there is no bias.
  uint64_t below(uint64_t bound) {
    const uint64_t reject_below = (0 - bound) % bound;
    uint64_t z = next();
    while (z < reject_below) z = next();
    return z % bound;
  }

  // Uniform in [low, high], low <= high.
  int64_t between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(below(static_cast<uint64_t>(high - low) + 1));
  }

  // Uniform in [0, 1).
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

  // Every order is equally likely (Fisher-Yates).
  template <typename T>
  void shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

  template <typename T>
  const T& pick(const std::vector<T>& items) {
    return items[below(items.size())];
  }

 private:
  static constexpr uint64_t kStep = 0x9E3779B97F4A7C15U;
  static constexpr uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
    return z ^ (z >> 31);
  }

  uint64_t state_;
};

}  // namespace beacon
