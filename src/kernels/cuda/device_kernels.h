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

// A matrix [O, I] of GGUF blocks; I a multiple of the block's elements, rows at even addresses.
struct DeviceBlocks {
  DType type = DType::kQ8_0;
  const std::byte* data = nullptr;
  int64_t out = 0;
  int64_t in = 0;
  int64_t row_bytes = 0;
};

// y = x W^T + bias. x bf16 [R, I], rows at multiples of 16 bytes; 1 <= R <= kDeviceFewRows.
inline constexpr int64_t kDeviceFewRows = 8;
struct DeviceLinear {
  DeviceBlocks weight;
  const uint16_t* x = nullptr;
  int64_t x_stride = 0;
  const float* bias = nullptr;  // [O]; null: none
  DType y_type = DType::kBF16;  // or kF32
  void* y = nullptr;
  int64_t y_stride = 0;
  int64_t rows = 0;
};

// to[i] = the weight's row index[i] (null: i), bf16 [count, I] contiguous.
struct DeviceExpand {
  DeviceBlocks weight;
  const int64_t* index = nullptr;
  int64_t count = 0;
  uint16_t* to = nullptr;
};

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

// Changes whenever something above does: a library of another build is not used.
inline constexpr int32_t kDeviceKernelsVersion = 1;

struct DeviceKernels {
  int32_t version = kDeviceKernelsVersion;
  // Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K
  const char* (*linear_rows)(const DeviceLinear&, void* stream) = nullptr;
  const char* (*expand_rows)(const DeviceExpand&, void* stream) = nullptr;
  const char* (*rms_norm)(const DeviceNorm&, void* stream) = nullptr;
  const char* (*swiglu)(const DeviceSwiglu&, void* stream) = nullptr;
  const char* (*rotate)(const DeviceRotate&, void* stream) = nullptr;
  int64_t (*free_bytes)() = nullptr;  // of the current device
};

}  // namespace beacon::kernels

// Exported by libbeacon_cuda.so.
extern "C" const beacon::kernels::DeviceKernels* beacon_device_kernels();
