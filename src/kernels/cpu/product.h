// Products of small blocks that stay in the caches. A word is 32 bits of the summed dimension: one float, or
// two neighbouring bf16 numbers where the processor multiplies those in pairs.
#pragma once

#include "kernels/cpu/half.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

struct FloatWords {
  static constexpr int kPerWord = 1;
  static BEACON_INLINE VF spread(const float* word) { return broadcast(*word); }
  static BEACON_INLINE VF add_product(VF sum, VF a, VF b) { return multiply_add(a, b, sum); }
};

#if defined(__AVX512BF16__)
struct Bf16Words {
  static constexpr int kPerWord = 2;
  static BEACON_INLINE VF spread(const float* word) {
    int32_t bits = 0;
    __builtin_memcpy(&bits, word, sizeof bits);
    return (VF)_mm512_set1_epi32(bits);
  }
  static BEACON_INLINE VF add_product(VF sum, VF a, VF b) {
    return (VF)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
  }
};
#endif

// Rows whose sums stay in registers, beside two vectors of columns: as many as hide the latency of a sum.
#if defined(__AVX512F__)
constexpr int kProductRows = 8;
#else
constexpr int kProductRows = 4;
#endif

// A matrix of words or floats in row-major order.
struct Block {
  float* data;
  int64_t stride;
};

// What a product is added to: nothing, the earlier result, or that times a factor per column.
enum class Onto { kNothing, kResult, kScaledResult };

// One strip of kProductRows x kWidth vectors of multiply_add_block().
template <typename Words, Onto kOnto, int kWidth>
BEACON_INLINE void product_strip(const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                                 int64_t words, const float* keep, float* c, int64_t c_stride) {
  VF sums[kProductRows][kWidth];
  BEACON_UNROLL
  for (int r = 0; r < kProductRows; ++r) {
    BEACON_UNROLL
    for (int w = 0; w < kWidth; ++w) {
      sums[r][w] = kOnto == Onto::kNothing ? VF{} : load(c + r * c_stride + w * kLanes);
      if constexpr (kOnto == Onto::kScaledResult) sums[r][w] = sums[r][w] * load(keep + w * kLanes);
    }
  }
  for (int64_t k = 0; k < words; ++k) {
    VF columns[kWidth];
    BEACON_UNROLL
    for (int w = 0; w < kWidth; ++w) columns[w] = load(b + k * b_stride + w * kLanes);
    BEACON_UNROLL
    for (int r = 0; r < kProductRows; ++r) {
      const VF value = Words::spread(a + r * a_stride + k);
      BEACON_UNROLL
      for (int w = 0; w < kWidth; ++w) sums[r][w] = Words::add_product(sums[r][w], value, columns[w]);
    }
  }
  BEACON_UNROLL
  for (int r = 0; r < kProductRows; ++r) {
    BEACON_UNROLL
    for (int w = 0; w < kWidth; ++w) store(c + r * c_stride + w * kLanes, sums[r][w]);
  }
}

// c[r][j] = sum over words k of a[r][k] . b[k][j], added to nothing, c[r][j] or c[r][j] * keep[j] (keep is
// read only then). rows a multiple of kProductRows, columns of kLanes. a [rows, words], b [words, columns].
template <typename Words, Onto kOnto>
void multiply_block(Block a, Block b, int64_t rows, int64_t columns, int64_t words, Block c,
                    const float* keep = nullptr) {
  const auto keep_at = [=](int64_t j) { return kOnto == Onto::kScaledResult ? keep + j : nullptr; };
  int64_t j = 0;
  for (; j + 2 * kLanes <= columns; j += 2 * kLanes) {
    for (int64_t r = 0; r < rows; r += kProductRows)
      product_strip<Words, kOnto, 2>(a.data + r * a.stride, a.stride, b.data + j, b.stride, words, keep_at(j),
                                     c.data + r * c.stride + j, c.stride);
  }
  for (; j < columns; j += kLanes) {
    for (int64_t r = 0; r < rows; r += kProductRows)
      product_strip<Words, kOnto, 1>(a.data + r * a.stride, a.stride, b.data + j, b.stride, words, keep_at(j),
                                     c.data + r * c.stride + j, c.stride);
  }
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
