// The inner loops of attention of few queries, on tiles of query rows that stay in registers. A row is one
// query token and one head of the group that shares a KV head: row r is query r / G, head r % G, so that
// neighbouring rows see the same keys.
#pragma once

#include "kernels/cpu/decode_rows.h"
#include "kernels/cpu/exp.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

// scores[r][s] = q[r] . k[s] for kRows rows and four keys at a time; q [kRows, padded_dim] in the order of
// the rows' vectors.
template <int kRows, typename Rows>
void score_rows(const float* q, Rows k, int64_t n, int64_t padded_dim, float* scores) {
  for (int64_t s = 0; s < n; s += 4) {
    VF sums[kRows][4] = {};
    const auto add = [&](int i, int64_t h, VF key) {
      BEACON_UNROLL
      for (int r = 0; r < kRows; ++r)
        sums[r][i] = multiply_add(load(q + r * padded_dim + h), key, sums[r][i]);
    };
    int64_t h = 0;
    for (; h + 2 * kLanes <= padded_dim; h += 2 * kLanes) {
      BEACON_UNROLL
      for (int i = 0; i < 4; ++i) {
        VF first, second;
        k.two(least(s + i, n - 1), h, first, second);
        add(i, h, first);
        add(i, h + kLanes, second);
      }
    }
    if constexpr (requires { k.one(s, h); }) {
      if (h < padded_dim) {
        BEACON_UNROLL
        for (int i = 0; i < 4; ++i) add(i, h, k.one(least(s + i, n - 1), h));
      }
    }
    BEACON_UNROLL
    for (int r = 0; r < kRows; ++r) {
      *reinterpret_cast<F4Memory*>(scores + r * kKeyBlock + s) =
          sum_lanes(sums[r][0], sums[r][1], sums[r][2], sums[r][3]);
    }
  }
}

// out[r][0 .. kPairs pairs of vectors) = out * keep[r] + sum over n keys of weights[r][s] v[s].
template <int kRows, int kPairs, typename Rows>
BEACON_INLINE void value_strip(const float* weights, Rows v, int64_t n, const float* keep, float* out,
                               int64_t out_stride) {
  constexpr int kWidth = 2 * kPairs;
  VF sums[kRows][kWidth];
  BEACON_UNROLL
  for (int r = 0; r < kRows; ++r) {
    BEACON_UNROLL
    for (int w = 0; w < kWidth; ++w)
      sums[r][w] = load(out + r * out_stride + w * kLanes) * broadcast(keep[r]);
  }
  for (int64_t s = 0; s < n; ++s) {
    VF values[kWidth];
    BEACON_UNROLL
    for (int w = 0; w < kWidth; w += 2) v.two(s, w * kLanes, values[w], values[w + 1]);
    BEACON_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const VF weight = broadcast(weights[r * kKeyBlock + s]);
      BEACON_UNROLL
      for (int w = 0; w < kWidth; ++w) sums[r][w] = multiply_add(weight, values[w], sums[r][w]);
    }
  }
  BEACON_UNROLL
  for (int r = 0; r < kRows; ++r) {
    BEACON_UNROLL
    for (int w = 0; w < kWidth; ++w) store(out + r * out_stride + w * kLanes, sums[r][w]);
  }
}

// The last vector of a head that has an odd number of them.
template <int kRows>
BEACON_INLINE void value_vector(const float* weights, FloatRows v, int64_t n, const float* keep, float* out,
                                int64_t out_stride) {
  VF sums[kRows];
  BEACON_UNROLL
  for (int r = 0; r < kRows; ++r) sums[r] = load(out + r * out_stride) * broadcast(keep[r]);
  for (int64_t s = 0; s < n; ++s) {
    const VF value = v.one(s, 0);
    BEACON_UNROLL
    for (int r = 0; r < kRows; ++r)
      sums[r] = multiply_add(broadcast(weights[r * kKeyBlock + s]), value, sums[r]);
  }
  BEACON_UNROLL
  for (int r = 0; r < kRows; ++r) store(out + r * out_stride, sums[r]);
}

// The same over a whole head of padded_dim.
template <int kRows, typename Rows>
void add_values(const float* weights, Rows v, int64_t n, const float* keep, float* out, int64_t padded_dim) {
  int64_t h = 0;
  for (; h + 4 * kLanes <= padded_dim; h += 4 * kLanes)
    value_strip<kRows, 2>(weights, v.from(h), n, keep, out + h, padded_dim);
  for (; h + 2 * kLanes <= padded_dim; h += 2 * kLanes)
    value_strip<kRows, 1>(weights, v.from(h), n, keep, out + h, padded_dim);
  if constexpr (requires { v.one(h, h); }) {
    if (h < padded_dim) value_vector<kRows>(weights, v.from(h), n, keep, out + h, padded_dim);
  }
}

// The running softmax of one tile: turns scores[rows][n] into weights, updates the largest scores and the
// sums of weights, and tells what the earlier results are to be multiplied with.
inline void soften_tile(float* scores, int rows, int64_t n, float* largest, float* total, float* keep) {
  const int64_t width = round_up(n, kLanes);
  float change[kTileRows + kLanes];
  for (int r = 0; r < rows; ++r) {
    float* row = scores + r * kKeyBlock;
    VF best = broadcast(largest[r]);
    for (int64_t j = 0; j < width; j += kLanes) best = larger(load(row + j), best);
    const float now = largest_lane(best);
    // While nothing is visible both are -inf, and their difference would be NaN.
    const float shift = now == kMinusInfinity ? 0.0F : now;
    VF sums = {};
    for (int64_t j = 0; j < width; j += kLanes) {
      const VF weight = exp_nonpositive(load(row + j) - shift);
      store(row + j, weight);
      sums = sums + weight;
    }
    change[r] = largest[r] - shift;
    largest[r] = now;
    keep[r] = sum_lanes(sums);
  }
  for (int r = rows; r < rows + kLanes; ++r) change[r] = 0;
  float factors[kTileRows + kLanes];
  for (int r = 0; r < rows; r += kLanes) store(factors + r, exp_nonpositive(load(change + r)));
  for (int r = 0; r < rows; ++r) {
    total[r] = total[r] * factors[r] + keep[r];
    keep[r] = factors[r];
  }
}

BEACON_INLINE VI lane_indices() {
  VI lanes;
  for (int i = 0; i < kLanes; ++i) lanes[i] = i;
  return lanes;
}

// Scores of the columns [count, width) become -inf; width is a multiple of kLanes.
inline void keep_first(float* row, int64_t count, int64_t width) {
  for (int64_t j = count / kLanes * kLanes; j < width; j += kLanes) {
    const VI visible = lane_indices() < VI{} + static_cast<int32_t>(most(count - j, 0));
    store(row + j, select(visible, load(row + j), broadcast(kMinusInfinity)));
  }
}

// Scores where the mask [n] is 0 become -inf, and those of the columns [n, width).
inline void keep_masked(float* row, const uint8_t* mask, int64_t n, int64_t width) {
  uint8_t bytes[kKeyBlock] = {};
  __builtin_memcpy(bytes, mask, static_cast<size_t>(n));
  for (int64_t j = 0; j < width; j += kLanes)
    store(row + j, select(widen_u8(bytes + j) != 0, load(row + j), broadcast(kMinusInfinity)));
}

}  // namespace
}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
