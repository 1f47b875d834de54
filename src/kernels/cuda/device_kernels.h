#pragma once
// The kernels of a GPU as a table of functions, which libbeacon_cuda.so hands out: what torch has no
// operation for (products with quantised blocks) or several for (norms, RoPE, the gate of the feed-forward
// block). All pointers are of device memory; all functions only queue their work on `stream` (a
// cudaStream_t), and return null or the reason why they could not, a static text. Thread-safe on disjoint
// targets. Letters: R rows, I in, O out, H head_dim.
#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace beacon::kernels {

// A matrix [O, I] of GGUF blocks as split_blocks.h has them; I a multiple of the block's elements, rows at
// multiples of 16 bytes.
struct DeviceBlocks {
  DType type = DType::kQ8_0;
  const std::byte* data = nullptr;
  int64_t out = 0;
  int64_t in = 0;
  int64_t row_bytes = 0;
};

// y = x W^T + bias for up to kDeviceTargets weights of one type and I, in one launch. x bf16 [R, I], rows at
// multiples of 16 bytes; 1 <= R <= kDeviceFewRows.
inline constexpr int64_t kDeviceFewRows = 8;
inline constexpr int32_t kDeviceTargets = 3;
struct DeviceTarget {
  DeviceBlocks weight;
  const float* bias = nullptr;  // [O]; null: none
  DType y_type = DType::kBF16;  // or kF32
  void* y = nullptr;
  int64_t y_stride = 0;
};
struct DeviceLinear {
  DeviceTarget targets[kDeviceTargets];
  int32_t num_targets = 0;
  const uint16_t* x = nullptr;
  int64_t x_stride = 0;
  int64_t rows = 0;
};

// to[i] = the weight's row index[i] (null: i), bf16 [count, I] contiguous.
struct DeviceExpand {
  DeviceBlocks weight;
  const int64_t* index = nullptr;
  int64_t count = 0;
  uint16_t* to = nullptr;
};

// What is loaded four numbers at once here begins at a multiple of their size, as tensors and whole rows do.

// x += branch (null: nothing), y = x / sqrt(mean(x^2) + eps) * weight. [R, cols] contiguous; x f32.
struct DeviceNorm {
  float* x = nullptr;
  DType branch_type = DType::kBF16;  // or kF32
  const void* branch = nullptr;
  const float* weight = nullptr;  // [cols]
  float eps = 0;
  DType y_type = DType::kBF16;  // or kF32
  void* y = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
};

// out = silu(gate) * up, n numbers of one type, kF32 or kBF16; out may be gate or up.
struct DeviceSwiglu {
  DType type = DType::kBF16;
  const void* gate = nullptr;
  const void* up = nullptr;
  void* out = nullptr;
  int64_t n = 0;
};

// y = rotate(x): [R, heads, H] with strides in elements; row r takes the table's row r % table_rows. y may be
// x.
struct DeviceRotate {
  DType x_type = DType::kBF16;  // or kF32
  const void* x = nullptr;
  int64_t x_row_stride = 0, x_head_stride = 0;
  DType y_type = DType::kBF16;  // or kF32
  void* y = nullptr;
  int64_t y_row_stride = 0, y_head_stride = 0;
  const float* cos = nullptr;  // [table_rows, H / 2]
  const float* sin = nullptr;
  int64_t table_rows = 0;
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
};

// The new rows of a layer's memory: keys rotated, keys as they came, values.
struct DeviceAppend {
  DType x_type = DType::kBF16;  // or kF32
  const void* k = nullptr;      // [R, K, H], heads and rows contiguous; v likewise
  const void* v = nullptr;
  const float* cos = nullptr;  // [R, H / 2]
  const float* sin = nullptr;
  DType to_type = DType::kBF16;  // or kF32
  void* k_to = nullptr;
  void* v_to = nullptr;
  int64_t to_head_stride = 0, to_row_stride = 0;  // of both
  float* k_before = nullptr;                      // before the rotation; null: not kept
  int64_t before_head_stride = 0, before_row_stride = 0;
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
};

// Few rows of queries over many keys: out = softmax(scale q k^T + gate + mask) v. N heads share K KV heads.
// The keys are cut into chunks, whose results lie in `partials` until they are put together. H a multiple of
// kDeviceHeadMultiple, at most kDeviceLargestHead; rows of queries, keys and values at multiples of 16 bytes.
inline constexpr int64_t kDeviceHeadMultiple = 8;
inline constexpr int64_t kDeviceLargestHead = 256;
struct DeviceAttention {
  DType q_type = DType::kBF16;  // or kF32
  const void* q = nullptr;      // [R, N * H]
  int64_t q_row_stride = 0;
  DType kv_type = DType::kBF16;  // or kF32
  const void* k = nullptr;       // [K, S, H]
  int64_t k_head_stride = 0, k_row_stride = 0;
  const void* v = nullptr;
  int64_t v_head_stride = 0, v_row_stride = 0;
  DType out_type = DType::kBF16;  // or kF32
  void* out = nullptr;            // [R, N * H]
  int64_t out_row_stride = 0;
  const uint8_t* mask = nullptr;  // [R, S - seen_keys], 1 = visible; null: causal from the bottom right
  int64_t mask_row_stride = 0;
  int64_t seen_keys = 0;        // the first keys, of which the mask does not speak: every row sees them
  const float* gate = nullptr;  // [N], added to the scores of gated keys; null: nothing is added
  const uint8_t* gated_keys = nullptr;  // [S]
  float scale = 1;
  int64_t rows = 0;
  int64_t keys = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t chunk_keys = 0;     // a multiple of 32; device_attention_chunk()
  float* partials = nullptr;  // device_attention_partials() floats
};

// Keys of a chunk, so that there are enough of them for all multiprocessors of a large card, and no more.
constexpr int64_t device_attention_chunk(const DeviceAttention& p) {
  constexpr int64_t kWarps = 1056, kStep = 32, kQueries = 8;
  const int64_t queries = p.heads / p.kv_heads * p.rows;
  const int64_t most = kWarps / (p.kv_heads * ((queries + kQueries - 1) / kQueries));
  const int64_t steps = kStep * (most > 0 ? most : 1);
  return (p.keys > 0 ? (p.keys + steps - 1) / steps : 1) * kStep;
}

// A query's weighted sum, its largest score and the sum of its weights, for each chunk.
constexpr int64_t device_attention_partials(const DeviceAttention& p) {
  return p.rows * p.heads * ((p.keys + p.chunk_keys - 1) / p.chunk_keys) * (p.head_dim + 2);
}

// Attention over two sets of keys from that over each, a and b [B, R, N, H], and the logarithms of their sums
// of exponentials [B, N, R]. H a multiple of 4.
struct DeviceMerge {
  DType type = DType::kBF16;  // or kF32
  const void* a = nullptr;
  const void* b = nullptr;
  const float* log_sum_a = nullptr;
  const float* log_sum_b = nullptr;
  void* out = nullptr;  // [B, R, N, H]
  int64_t batch = 0;
  int64_t rows = 0;
  int64_t heads = 0;
  int64_t head_dim = 0;
};

// Changes whenever something above does: a library of another build is not used.
inline constexpr int32_t kDeviceKernelsVersion = 3;

struct DeviceKernels {
  int32_t version = kDeviceKernelsVersion;
  // Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K
  const char* (*linear_rows)(const DeviceLinear&, void* stream) = nullptr;
  const char* (*expand_rows)(const DeviceExpand&, void* stream) = nullptr;
  const char* (*rms_norm)(const DeviceNorm&, void* stream) = nullptr;
  const char* (*swiglu)(const DeviceSwiglu&, void* stream) = nullptr;
  const char* (*rotate)(const DeviceRotate&, void* stream) = nullptr;
  const char* (*append)(const DeviceAppend&, void* stream) = nullptr;
  const char* (*attention)(const DeviceAttention&, void* stream) = nullptr;
  const char* (*merge)(const DeviceMerge&, void* stream) = nullptr;
  int64_t (*free_bytes)() = nullptr;  // of the current device
};

}  // namespace beacon::kernels

// Exported by libbeacon_cuda.so.
extern "C" const beacon::kernels::DeviceKernels* beacon_device_kernels();
