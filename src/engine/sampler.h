#pragma once
// Chooses the next token from logits, the same on every machine and compiler.
#include <beacon/sampling.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace beacon {

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). The distributions of
// <random> differ between standard libraries, so uniform() is ours: the top 53 bits, times 2^-53.
class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t state) : state_(state) {}
  uint64_t next();
  double uniform();  // in [0, 1)
  uint64_t state() const { return state_; }

 private:
  uint64_t state_;
};

// e^x for x <= 0 within 2 ulp, from IEEE additions and multiplications alone: libm's last bit differs between
// versions and CPUs. Results below the smallest normal double are 0.
double portable_exp(double x);

// Holds the options, the generator and scratch of one conversation. Not thread-safe; cheap to construct.
//   Sampler sampler(options);
//   const int32_t id = sampler.sample(logits, fed_tokens);
class Sampler {
 public:
  // Throws kInvalidArgument as validate() does.
  explicit Sampler(const SamplingOptions& options);

  // logits [V] of one row; recent: the ids fed and sampled so far in order, of which the last
  // repetition_window count. -inf logits are never chosen. Throws and leaves the generator as it was:
  // kBadFile when logits hold NaN, +inf or nothing but -inf (a broken model), kInvalidArgument when logits is
  // empty or a counted recent id outside [0, V). At temperature 0 the generator is not used; otherwise each
  // call draws from it exactly once.
  int32_t sample(std::span<const float> logits, std::span<const int32_t> recent);

  // The generator's state, 16 bytes, for memory files; restore() throws kBadFile when the bytes are something
  // else.
  std::vector<std::byte> state() const;
  void restore(std::span<const std::byte> state);

  const SamplingOptions& options() const { return options_; }

 private:
  struct Candidate {
    int32_t id;
    double score;   // after the penalty
    double weight;  // e^((score - best score) / temperature), so the best one has 1
  };
  static bool before(const Candidate& a, const Candidate& b);

  void load_scores(std::span<const float> logits, std::span<const int32_t> recent);
  void keep_top_k();
  void weigh();
  void keep_top_p();
  void keep_min_p();
  int32_t draw();

  SamplingOptions options_;
  SplitMix64 generator_;
  std::vector<Candidate> candidates_;  // in ascending id between the steps
  std::vector<int32_t> seen_;          // sorted, unique
};

}  // namespace beacon
