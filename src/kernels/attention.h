#pragma once
// Attention of many queries over keys that were rotated already: a forward pass in one sweep with a running
// maximum (Milakov and Gimelshein 2018; Dao et al. 2022), and a backward pass that computes the weights again
// from the log-sum-exp of each row, so nothing of size T x S is stored. attention_decode.h is for few
// queries.
//
// T query tokens, S keys, N query heads, K KV heads, G = N / K, H head_dim. A row is one query token and one
// head of the group that shares a KV head: row r of a KV head is token r / G, head r % G of the group.
#include <cstdint>

#include "base/dtype.h"

namespace beacon::kernels {

// An array [rows, heads, H] of kF32 or kBF16 with unit stride over H, strides in elements; or, for k and v of
// the forward pass and H a multiple of 32, of kQ8_0 blocks, strides in bytes.
struct HeadArray {
  const void* data = nullptr;
  int64_t row_stride = 0;
  int64_t head_stride = 0;
  DType type = DType::kF32;
};
struct HeadOutput {
  void* data = nullptr;
  int64_t row_stride = 0;
  int64_t head_stride = 0;
  DType type = DType::kF32;
};

// Preconditions, checked by the caller: T, S >= 1; without a mask T <= S; N a multiple of K; values finite.
// Outputs overlap nothing. k and v have one type, and for the backward pass everything has it. Where q is
// kBF16 and k and v are not kF32, processors that can multiply bf16 (with f32 sums), and weights and what
// kQ8_0 stands for are rounded to it.
struct AttentionParams {
  HeadArray q;  // [T, N, H] after RoPE
  HeadArray k;  // [S, K, H] after RoPE
  HeadArray v;  // [S, K, H]

  int64_t num_queries = 0;   // T
  int64_t num_keys = 0;      // S
  int64_t num_heads = 0;     // N; head n reads KV head n / G
  int64_t num_kv_heads = 0;  // K
  int64_t head_dim = 0;      // H
  float scale = 1.0F;        // scores are scale * (q . k)

  // Which keys query t sees: those with mask[t, s] != 0 when there is a mask, else s <= S - T + t. A query
  // that sees none gets zeros and gives no gradients.
  const uint8_t* mask = nullptr;  // [T, S] or null
  int64_t mask_row_stride = 0;
  int64_t seen_keys = 0;  // with a mask: the first so many keys, which it shows to all, need not be looked at

  // The forward pass may multiply pairs of 16-bit integers, where the processor is faster at that (from AVX2
  // on; others take no notice): q and k rounded to 12 bits and a sign (a head of 64 numbers; one scale for
  // each row), weights to 13 bits (beside the largest of a row in kAttentionBlock keys), v to 12 and a sign
  // (one scale for each number of a head in so many keys).
  bool integers = false;

  // Beacon gate: head_bias[n] is added to the scores of the keys with bias_keys[s] != 0. Null: no bias.
  const float* head_bias = nullptr;    // [N] or null
  const uint8_t* bias_keys = nullptr;  // [S], given with head_bias

  HeadOutput out;  // [T, N, H]: written by the forward pass, read by the backward pass
  // [N, T] log of the sum of e^score; +inf where a query sees nothing. As `out`; null: not wanted.
  float* lse = nullptr;

  // The backward pass alone.
  HeadArray dout;          // [T, N, H] gradient of out
  HeadOutput dq, dk, dv;   // gradients of q, k, v
  float* dbias = nullptr;  // [N] gradient of head_bias, or null when it is not wanted
};

// Writes out and lse. Values must be finite even where they are masked (0 * NaN = NaN). Unit ranges may run
// in any order and on any threads, each thread with its own scratch of attention_forward_scratch_floats()
// floats (any alignment). Results do not depend on the cut.
int64_t attention_forward_scratch_floats(const AttentionParams& params) noexcept;
int64_t attention_forward_units(const AttentionParams& params) noexcept;
void attention_forward(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                       float* scratch) noexcept;

// The backward pass: all units of rows, then all units of keys (dk and dv), then all units of queries (dq),
// then the bias. `workspace` is shared by all threads and kept between the calls; its contents at the
// beginning do not matter. There are as many units of queries as of rows. Within one of the four, unit
// ranges may run in any order and on any threads, each with its own scratch; results do not depend on the cut
// nor on the threads.
int64_t attention_backward_scratch_floats(const AttentionParams& params) noexcept;
int64_t attention_backward_workspace_floats(const AttentionParams& params) noexcept;
int64_t attention_backward_row_units(const AttentionParams& params) noexcept;
int64_t attention_backward_key_units(const AttentionParams& params) noexcept;
void attention_backward_rows(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                             float* workspace, float* scratch) noexcept;
void attention_backward_keys(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                             float* workspace, float* scratch) noexcept;
void attention_backward_queries(const AttentionParams& params, int64_t unit_begin, int64_t unit_end,
                                float* workspace, float* scratch) noexcept;
void attention_backward_bias(const AttentionParams& params, const float* workspace) noexcept;

}  // namespace beacon::kernels
