// The parts of attention of few queries that no instruction set changes: how the work is cut and how partial
// results are merged.
#include "kernels/attention_decode.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/table.h"

namespace beacon::kernels {
namespace {

// Fewer keys than this in a chunk cost more to merge than they save.
constexpr int64_t kMinChunkKeys = 256;

// The heads of one query over all chunks: with M the largest m of all chunks, sum of e^(m - M) o over the
// same of d.
void merge_head(const AttentionDecodeParams& p, int64_t chunks, const float* first, int64_t chunk_stride,
                float* out) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t c = 0; c < chunks; ++c) {
    const float m = first[c * chunk_stride + p.head_dim];
    if (m > largest || std::isnan(m)) largest = m;
  }
  std::fill(out, out + p.head_dim, 0.0F);
  if (largest == -std::numeric_limits<float>::infinity()) return;
  float total = 0;
  for (int64_t c = 0; c < chunks; ++c) {
    const float* partial = first + c * chunk_stride;
    const float weight = std::exp(partial[p.head_dim] - largest);
    total += weight * partial[p.head_dim + 1];
    for (int64_t h = 0; h < p.head_dim; ++h) out[h] += weight * partial[h];
  }
  for (int64_t h = 0; h < p.head_dim; ++h) out[h] /= total;
}

}  // namespace

int64_t attention_decode_chunks(const AttentionDecodeParams& p, int64_t threads) noexcept {
  // Three units a thread even out threads that start late.
  const int64_t wanted = threads <= 1 ? 1 : ceil_div(3 * threads, std::max<int64_t>(p.num_kv_heads, 1));
  return std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, p.num_keys / kMinChunkKeys));
}

int64_t attention_partial_floats(const AttentionDecodeParams& p, int64_t chunks) noexcept {
  return chunks * p.num_heads * p.num_queries * (p.head_dim + 2);
}

void attention_merge(const AttentionDecodeParams& p, int64_t chunks, const float* partials) noexcept {
  const int64_t group = p.num_heads / p.num_kv_heads;
  const int64_t chunk_stride = p.num_queries * group * (p.head_dim + 2);
  for (int64_t t = 0; t < p.num_queries; ++t) {
    for (int64_t n = 0; n < p.num_heads; ++n) {
      const float* first =
          partials + n / group * chunks * chunk_stride + (t * group + n % group) * (p.head_dim + 2);
      merge_head(p, chunks, first, chunk_stride, p.out + t * p.out_row_stride + n * p.out_head_stride);
    }
  }
}

}  // namespace beacon::kernels
