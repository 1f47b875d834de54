// Attention by its definition, every weight written out in double.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/attention_shape.h"
#include "kernels/reference/reference.h"

namespace beacon::kernels::reference {
namespace {

// Sums of this many head dimensions are doubles on the stack; weights are computed again for each such piece.
constexpr int64_t kPiece = 64;

double at(const HeadArray& x, int64_t row, int64_t head, int64_t h) {
  return element_at(x.type, x.data, row * x.row_stride + head * x.head_stride, h);
}
double at(const HeadOutput& x, int64_t row, int64_t head, int64_t h) {
  return at(HeadArray{x.data, x.row_stride, x.head_stride, x.type}, row, head, h);
}

void put(const HeadOutput& x, int64_t row, int64_t head, int64_t h, double value) {
  const int64_t index = row * x.row_stride + head * x.head_stride + h;
  const auto rounded = static_cast<float>(value);
  if (x.type == DType::kBF16) {
    static_cast<uint16_t*>(x.data)[index] = f32_to_bf16_one(rounded);
  } else {
    static_cast<float*>(x.data)[index] = rounded;
  }
}

bool sees(const AttentionParams& p, int64_t t, int64_t s) {
  if (p.mask != nullptr) return p.mask[t * p.mask_row_stride + s] != 0;
  return s <= p.num_keys - p.num_queries + t;
}

bool biased(const AttentionParams& p, int64_t s) { return p.head_bias != nullptr && p.bias_keys[s] != 0; }

int64_t kv_of(const AttentionParams& p, int64_t n) { return n / (p.num_heads / p.num_kv_heads); }

double score(const AttentionParams& p, int64_t t, int64_t n, int64_t s) {
  double sum = 0;
  for (int64_t h = 0; h < p.head_dim; ++h) sum += at(p.q, t, n, h) * at(p.k, s, kv_of(p, n), h);
  return sum * p.scale + (biased(p, s) ? p.head_bias[n] : 0.0F);
}

// e^(score - lse), 0 for what is not seen.
double weight(const AttentionParams& p, int64_t t, int64_t n, int64_t s) {
  return sees(p, t, s) ? std::exp(score(p, t, n, s) - p.lse[n * p.num_queries + t]) : 0.0;
}

// Gradient of the (scaled) score of one pair: weight * (dout . v - dout . out).
double score_gradient(const AttentionParams& p, int64_t t, int64_t n, int64_t s) {
  if (!sees(p, t, s)) return 0;
  double sum = 0;
  for (int64_t h = 0; h < p.head_dim; ++h)
    sum += at(p.dout, t, n, h) * (at(p.v, s, kv_of(p, n), h) - at(p.out, t, n, h));
  return weight(p, t, n, s) * sum;
}

void forward_row(const AttentionParams& p, int64_t t, int64_t n) {
  double largest = -std::numeric_limits<double>::infinity();
  for (int64_t s = 0; s < p.num_keys; ++s) {
    if (sees(p, t, s)) largest = std::fmax(largest, score(p, t, n, s));
  }
  double total = 0;
  for (int64_t s = 0; s < p.num_keys; ++s) {
    if (sees(p, t, s)) total += std::exp(score(p, t, n, s) - largest);
  }
  const double lse = total == 0 ? std::numeric_limits<double>::infinity() : largest + std::log(total);
  if (p.lse != nullptr) p.lse[n * p.num_queries + t] = static_cast<float>(lse);
  for (int64_t piece = 0; piece < p.head_dim; piece += kPiece) {
    const int64_t width = std::min(kPiece, p.head_dim - piece);
    double sums[kPiece] = {};
    for (int64_t s = 0; s < p.num_keys; ++s) {
      if (!sees(p, t, s)) continue;
      const double share = std::exp(score(p, t, n, s) - lse);
      for (int64_t h = 0; h < width; ++h) sums[h] += share * at(p.v, s, kv_of(p, n), piece + h);
    }
    for (int64_t h = 0; h < width; ++h) put(p.out, t, n, piece + h, sums[h]);
  }
}

// One key of dk and dv.
void key_gradients(const AttentionParams& p, int64_t kv_head, int64_t s) {
  const int64_t group = p.num_heads / p.num_kv_heads;
  for (int64_t piece = 0; piece < p.head_dim; piece += kPiece) {
    const int64_t width = std::min(kPiece, p.head_dim - piece);
    double dk[kPiece] = {};
    double dv[kPiece] = {};
    for (int64_t n = kv_head * group; n < (kv_head + 1) * group; ++n) {
      for (int64_t t = 0; t < p.num_queries; ++t) {
        if (!sees(p, t, s)) continue;
        const double share = weight(p, t, n, s);
        const double slope = score_gradient(p, t, n, s) * p.scale;
        for (int64_t h = 0; h < width; ++h) {
          dk[h] += slope * at(p.q, t, n, piece + h);
          dv[h] += share * at(p.dout, t, n, piece + h);
        }
      }
    }
    for (int64_t h = 0; h < width; ++h) {
      put(p.dk, s, kv_head, piece + h, dk[h]);
      put(p.dv, s, kv_head, piece + h, dv[h]);
    }
  }
}

void query_gradient(const AttentionParams& p, int64_t t, int64_t n) {
  for (int64_t piece = 0; piece < p.head_dim; piece += kPiece) {
    const int64_t width = std::min(kPiece, p.head_dim - piece);
    double sums[kPiece] = {};
    for (int64_t s = 0; s < p.num_keys; ++s) {
      if (!sees(p, t, s)) continue;
      const double slope = score_gradient(p, t, n, s) * p.scale;
      for (int64_t h = 0; h < width; ++h) sums[h] += slope * at(p.k, s, kv_of(p, n), piece + h);
    }
    for (int64_t h = 0; h < width; ++h) put(p.dq, t, n, piece + h, sums[h]);
  }
}

}  // namespace

int64_t attention_forward_scratch_floats(const AttentionParams& /*params*/) noexcept { return 0; }
int64_t attention_backward_scratch_floats(const AttentionParams& /*params*/) noexcept { return 0; }
int64_t attention_backward_workspace_floats(const AttentionParams& /*params*/) noexcept { return 0; }

void attention_forward(const AttentionParams& p, int64_t unit_begin, int64_t unit_end,
                       float* /*scratch*/) noexcept {
  const AttentionShape shape = attention_shape(p);
  const int64_t unit_rows = shape.unit_blocks * kAttentionBlock;
  for (int64_t unit = unit_begin; unit < unit_end; ++unit) {
    const int64_t begin = unit % shape.row_units * unit_rows;
    const int64_t end = std::min(shape.rows, begin + unit_rows);
    for (int64_t r = begin; r < end; ++r)
      forward_row(p, r / shape.group, unit / shape.row_units * shape.group + r % shape.group);
  }
}

void attention_backward_rows(const AttentionParams& /*params*/, int64_t /*unit_begin*/, int64_t /*unit_end*/,
                             float* /*workspace*/, float* /*scratch*/) noexcept {}

void attention_backward_keys(const AttentionParams& p, int64_t unit_begin, int64_t unit_end, float* workspace,
                             float* /*scratch*/) noexcept {
  const AttentionShape shape = attention_shape(p);
  for (int64_t unit = unit_begin; unit < unit_end; ++unit) {
    const int64_t kv_head = unit / shape.chunks;
    const int64_t begin = unit % shape.chunks * shape.chunk_keys;
    const int64_t end = std::min(p.num_keys, begin + shape.chunk_keys);
    for (int64_t s = begin; s < end; ++s) key_gradients(p, kv_head, s);
    if (p.dbias == nullptr) continue;
    float* sums = workspace + grad_bias_offset(p, kv_head, unit % shape.chunks);
    for (int64_t r = 0; r < shape.rows; ++r) {
      double sum = 0;
      for (int64_t s = begin; s < end; ++s) {
        if (biased(p, s))
          sum += score_gradient(p, r / shape.group, kv_head * shape.group + r % shape.group, s);
      }
      sums[r] = static_cast<float>(sum);
    }
  }
}

void attention_backward_queries(const AttentionParams& p, int64_t unit_begin, int64_t unit_end,
                                float* /*workspace*/, float* /*scratch*/) noexcept {
  const AttentionShape shape = attention_shape(p);
  for (int64_t unit = unit_begin; unit < unit_end; ++unit) {
    const int64_t kv_head = unit / shape.row_blocks;
    const int64_t begin = unit % shape.row_blocks * kAttentionBlock;
    const int64_t end = std::min(shape.rows, begin + kAttentionBlock);
    for (int64_t r = begin; r < end; ++r)
      query_gradient(p, r / shape.group, kv_head * shape.group + r % shape.group);
  }
}

}  // namespace beacon::kernels::reference
