// Memory of attention: sizes of a problem in words, and parts laid out behind one another.
#pragma once

#include "kernels/cpu/exp.h"
#include "kernels/cpu/sight.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

constexpr float kInfinity = __builtin_inff();
constexpr int64_t kBlockFloats = kAttentionBlock * kAttentionBlock;

// Calls body with the words that products of the type are made in.
template <typename Body>
BEACON_INLINE auto with_words(const AttentionParams& p, const Body& body) {
#if defined(__AVX512BF16__)
  if (p.q.type == DType::kBF16 && p.k.type != DType::kF32) return body(Bf16Words{});
#endif
  (void)p;
  return body(FloatWords{});
}

// A head in whole vectors, and blocks of rows in words.
template <typename Words>
struct HeadSize {
  explicit HeadSize(const AttentionParams& p)
      : dim(p.head_dim), padded(round_up(p.head_dim, kLanes)), words(padded / Words::kPerWord) {}
  int64_t dim;
  int64_t padded;
  int64_t words;  // of one row of a head
  static constexpr int64_t kRowWords = kAttentionBlock / Words::kPerWord;

  BEACON_INLINE int64_t block() const { return kAttentionBlock * words; }
  BEACON_INLINE int64_t sums() const { return kAttentionBlock * padded; }
};

// Hands out parts of one array, each on whole cache lines: a vector across two of them is read at half the
// speed. Without an array it only counts.
class Parts {
 public:
  explicit Parts(float* memory) : memory_(memory) {
    const int64_t misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(memory) / 4 % 16);
    used_ = memory == nullptr ? 16 : (16 - misaligned) % 16;
  }
  BEACON_INLINE float* take(int64_t floats) {
    float* part = memory_ == nullptr ? nullptr : memory_ + used_;
    used_ += round_up(floats, 16);
    return part;
  }
  BEACON_INLINE int64_t used() const { return used_; }

 private:
  float* memory_;
  int64_t used_;
};

// The score a row gets beside scale * (q . k): `plain` for most keys, `biased` for those with the bias.
struct RowShift {
  float* plain;   // [kAttentionBlock]
  float* biased;  // [kAttentionBlock]

  BEACON_INLINE const float* of(const AttentionParams& p, int64_t key) const {
    return p.head_bias != nullptr && key < p.num_keys && p.bias_keys[key] != 0 ? biased : plain;
  }
};

// kLanes keys' weights of one vector of rows, bits cleared where the row does not see the key.
BEACON_INLINE VF seen_or(VF value, VF otherwise, const uint8_t* visible) {
  return select(widen_u8(visible) != 0, value, otherwise);
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
