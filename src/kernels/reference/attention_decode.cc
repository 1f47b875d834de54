// Attention by its definition: scores of one query and one head, their softmax, the mean of the values.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

bool sees(const AttentionDecodeParams& p, int64_t t, int64_t s) {
  if (p.mask != nullptr) return p.mask[t * p.mask_row_stride + s] != 0;
  return s <= p.num_keys - p.num_queries + t;
}

bool biased(const AttentionDecodeParams& p, int64_t s) {
  return p.head_bias != nullptr && s >= p.bias_begin && s < p.bias_end &&
         (p.bias_keys == nullptr || p.bias_keys[s] != 0);
}

double score(const AttentionDecodeParams& p, int64_t t, int64_t n, int64_t s) {
  const int64_t kv_head = n / (p.num_heads / p.num_kv_heads);
  const float* q = p.q + t * p.q_row_stride + n * p.q_head_stride;
  double sum = 0;
  for (int64_t h = 0; h < p.head_dim; ++h)
    sum += q[h] * element_at(p.kv_type, p.k, kv_head * p.k_head_stride + s * p.k_row_stride, h);
  return sum * p.scale + (biased(p, s) ? p.head_bias[n] : 0.0F);
}

double largest_score(const AttentionDecodeParams& p, int64_t t, int64_t n, int64_t begin, int64_t end) {
  double largest = kNone;
  for (int64_t s = begin; s < end; ++s) {
    if (sees(p, t, s)) largest = std::fmax(largest, score(p, t, n, s));
  }
  return largest;
}

// One head of one query over the keys in [begin, end): sums[H] = sum of e^(score - largest) v; returns the
// sum of the weights. The head is done in pieces, with the scores computed again for each, so that the sums
// can be doubles on the stack.
double weighted_values(const AttentionDecodeParams& p, int64_t t, int64_t n, int64_t begin, int64_t end,
                       double largest, float* sums, double divide_by) {
  constexpr int64_t kPiece = 64;
  const int64_t kv_head = n / (p.num_heads / p.num_kv_heads);
  double total = 0;
  for (int64_t piece = 0; piece < p.head_dim; piece += kPiece) {
    const int64_t width = std::min(kPiece, p.head_dim - piece);
    double values[kPiece] = {};
    total = 0;
    for (int64_t s = begin; s < end; ++s) {
      if (!sees(p, t, s)) continue;
      const double weight = std::exp(score(p, t, n, s) - largest);
      total += weight;
      for (int64_t h = 0; h < width; ++h)
        values[h] +=
            weight * element_at(p.kv_type, p.v, kv_head * p.v_head_stride + s * p.v_row_stride, piece + h);
    }
    for (int64_t h = 0; h < width; ++h) sums[piece + h] = static_cast<float>(values[h] / divide_by);
  }
  return total;
}

}  // namespace

int64_t attention_decode_scratch_floats(const AttentionDecodeParams& /*params*/) noexcept { return 0; }

void attention_decode(const AttentionDecodeParams& p, int64_t chunks, int64_t unit_begin, int64_t unit_end,
                      float* partials, float* /*scratch*/) noexcept {
  const int64_t group = p.num_heads / p.num_kv_heads;
  const int64_t step = (p.num_keys + chunks - 1) / chunks;
  for (int64_t unit = unit_begin; unit < unit_end; ++unit) {
    const int64_t begin = std::min(p.num_keys, unit % chunks * step);
    const int64_t end = std::min(p.num_keys, begin + step);
    for (int64_t t = 0; t < p.num_queries; ++t) {
      for (int64_t g = 0; g < group; ++g) {
        const int64_t n = unit / chunks * group + g;
        float* partial = partials + ((unit * p.num_queries + t) * group + g) * (p.head_dim + 2);
        const double largest = largest_score(p, t, n, begin, end);
        const double total = weighted_values(p, t, n, begin, end, largest, partial, 1.0);
        partial[p.head_dim] = static_cast<float>(largest);
        partial[p.head_dim + 1] = static_cast<float>(total);
      }
    }
  }
}

}  // namespace beacon::kernels::reference
