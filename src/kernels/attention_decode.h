#pragma once
// Attention of few queries, bound by the reading of keys and values. Rotated keys, grouped heads, a running
// maximum as in attention.h.
//
// T query tokens, S keys, N query heads, K KV heads, G = N / K, H head_dim.
#include <cstdint>

#include "base/dtype.h"

namespace beacon::kernels {

// Strides are in elements, those of kQ8_0 rows in bytes. Preconditions, checked by the caller: 1 <= T;
// without a mask T <= S; N a multiple of K; kv_type F32, BF16, or Q8_0 with H a multiple of 32; q, k, v unit
// stride over H. Values must be finite even where they are masked (0
// * NaN = NaN).
struct AttentionDecodeParams {
  const float* q = nullptr;  // [T, N, H]
  int64_t q_row_stride = 0;
  int64_t q_head_stride = 0;

  DType kv_type = DType::kF32;  // kF32, kBF16 or kQ8_0
  const void* k = nullptr;      // [K, S, H] after RoPE
  int64_t k_head_stride = 0;
  int64_t k_row_stride = 0;
  const void* v = nullptr;  // [K, S, H]
  int64_t v_head_stride = 0;
  int64_t v_row_stride = 0;

  float* out = nullptr;  // [T, N, H]; must not overlap the inputs
  int64_t out_row_stride = 0;
  int64_t out_head_stride = 0;

  int64_t num_queries = 0;   // T
  int64_t num_keys = 0;      // S
  int64_t num_heads = 0;     // N; head n reads KV head n / G
  int64_t num_kv_heads = 0;  // K
  int64_t head_dim = 0;      // H, at least 1; fast when a multiple of 8
  float scale = 1.0F;        // scores are scale * (q . k)

  // Which keys query t sees: those with mask[t, s] != 0 when there is a mask, else s <= S - T + t (causal
  // from the bottom right). A query that sees none gets zeros.
  const uint8_t* mask = nullptr;  // [T, S] or null
  int64_t mask_row_stride = 0;

  // Beacon gate: head_bias[n] is added to the (scaled) scores of the keys s in [bias_begin, bias_end), of
  // those only the ones with bias_keys[s] != 0 when bias_keys is given. Null: no bias.
  const float* head_bias = nullptr;    // [N] or null
  const uint8_t* bias_keys = nullptr;  // [S] or null
  int64_t bias_begin = 0;
  int64_t bias_end = 0;
};

// Few queries (made for T = 1 to 8, right for any): the keys are cut into `chunks` as well, so that several
// threads help even with one KV head. There are K * chunks units; each writes its own part of `partials`,
// which holds attention_partial_floats() floats shared by all threads. When all units are done one thread
// calls attention_merge(). Results depend on `chunks` by rounding only. attention_decode_chunks() proposes a
// number of chunks >= 1.
int64_t attention_decode_chunks(const AttentionDecodeParams& params, int64_t threads) noexcept;
int64_t attention_partial_floats(const AttentionDecodeParams& params, int64_t chunks) noexcept;
int64_t attention_decode_scratch_floats(const AttentionDecodeParams& params) noexcept;
void attention_decode(const AttentionDecodeParams& params, int64_t chunks, int64_t unit_begin,
                      int64_t unit_end, float* partials, float* scratch) noexcept;
void attention_merge(const AttentionDecodeParams& params, int64_t chunks, const float* partials) noexcept;

}  // namespace beacon::kernels
