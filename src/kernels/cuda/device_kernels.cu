// The kernels of a GPU. They are bound by memory: a product of few rows reads its blocks once, a warp for each
// output; the rest is a pass over numbers.
#include "kernels/cuda/device_kernels.h"

#include "kernels/cuda/launch.h"
#include "kernels/cuda/weights.h"

namespace beacon::kernels {
namespace {

struct alignas(16) SixteenBytes {
  uint32_t words[4];
};

BEACON_DEVICE float load(DType type, const void* data, int64_t i) {
  return type == DType::kF32 ? static_cast<const float*>(data)[i]
                             : bf16_to_float(static_cast<const uint16_t*>(data)[i]);
}

BEACON_DEVICE void store(DType type, void* data, int64_t i, float value) {
  if (type == DType::kF32) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<uint16_t*>(data)[i] = float_to_bf16(value);
  }
}

BEACON_DEVICE float dot_32(const float* w, const uint16_t* x) {
  const auto* pieces = reinterpret_cast<const SixteenBytes*>(x);
  float sum = 0;
  for (int p = 0; p < 4; ++p) {
    const SixteenBytes eight = pieces[p];
    for (int i = 0; i < 4; ++i) {
      sum += w[8 * p + 2 * i] * float_of_bits(eight.words[i] << 16);
      sum += w[8 * p + 2 * i + 1] * float_of_bits(eight.words[i] & 0xFFFF0000U);
    }
  }
  return sum;
}

template <int kRows>
struct Sums {
  float of[kRows];
};

template <DType kType, int kRows>
struct LinearOutput {
  DeviceLinear p;
  BEACON_DEVICE void operator()(int64_t o) const {
    const auto* row = reinterpret_cast<const uint8_t*>(p.weight.data) + o * p.weight.row_bytes;
    PerLane<Sums<kRows>> sums;
    each_lane([&](int lane) {
      Sums<kRows>& own = sums[lane];
      for (int r = 0; r < kRows; ++r) own.of[r] = 0;
      for (int64_t unit = lane; unit < p.weight.in / 32; unit += kLanes) {
        float w[32];
        Units<kType>::load(row, unit, w);
        for (int r = 0; r < kRows; ++r) own.of[r] += dot_32(w, p.x + r * p.x_stride + 32 * unit);
      }
    });
    for (int r = 0; r < kRows; ++r) {
      float total = lane_sum(sums, [r](const Sums<kRows>& each) { return each.of[r]; });
      if (p.bias != nullptr) total += p.bias[o];
      each_lane([&](int lane) {
        if (lane == 0) store(p.y_type, p.y, r * p.y_stride + o, total);
      });
    }
  }
};

template <DType kType>
struct ExpandUnit {
  DeviceExpand p;
  BEACON_DEVICE void operator()(int64_t i) const {
    const int64_t units = p.weight.in / 32, row = i / units, unit = i % units;
    const int64_t source = p.index == nullptr ? row : p.index[row];
    float w[32];
    Units<kType>::load(reinterpret_cast<const uint8_t*>(p.weight.data) + source * p.weight.row_bytes, unit, w);
    uint16_t* to = p.to + row * p.weight.in + 32 * unit;
    for (int j = 0; j < 32; ++j) to[j] = float_to_bf16(w[j]);
  }
};

struct NormRow {
  DeviceNorm p;
  BEACON_DEVICE void operator()(int64_t row) const {
    const int64_t first = row * p.cols;
    PerLane<float> squares;
    each_lane([&](int lane) {
      float& own = squares[lane];
      own = 0;
      for (int64_t c = lane; c < p.cols; c += kLanes) {
        float value = p.x[first + c];
        if (p.branch != nullptr) {
          value += load(p.branch_type, p.branch, first + c);
          p.x[first + c] = value;
        }
        own += value * value;
      }
    });
    const float mean = lane_sum(squares, [](float each) { return each; }) / static_cast<float>(p.cols);
#if defined(__CUDACC__)
    const float scale = rsqrtf(mean + p.eps);
#else
    const float scale = 1.0F / std::sqrt(mean + p.eps);
#endif
    each_lane([&](int lane) {
      for (int64_t c = lane; c < p.cols; c += kLanes)
        store(p.y_type, p.y, first + c, p.x[first + c] * scale * p.weight[c]);
    });
  }
};

struct SwigluElement {
  DeviceSwiglu p;
  BEACON_DEVICE void operator()(int64_t i) const {
    const float gate = load(p.type, p.gate, i), up = load(p.type, p.up, i);
#if defined(__CUDACC__)
    const float silu = gate / (1.0F + expf(-gate));
#else
    const float silu = gate / (1.0F + std::exp(-gate));
#endif
    store(p.type, p.out, i, silu * up);
  }
};

struct RotatePair {
  DeviceRotate p;
  BEACON_DEVICE void operator()(int64_t i) const {
    const int64_t half = p.head_dim / 2, at = i % half, head = i / half % p.heads, row = i / half / p.heads;
    const int64_t angle = row % p.table_rows * half + at;
    const float cos = p.cos[angle], sin = p.sin[angle];
    const int64_t from = row * p.x_row_stride + head * p.x_head_stride + at;
    const int64_t to = row * p.y_row_stride + head * p.y_head_stride + at;
    const float a = load(p.x_type, p.x, from), b = load(p.x_type, p.x, from + half);
    store(p.y_type, p.y, to, a * cos - b * sin);
    store(p.y_type, p.y, to + half, b * cos + a * sin);
  }
};

template <template <DType> class Run, typename Params>
const char* for_type(const Params& p, void* stream) {
  switch (p.weight.type) {
    case DType::kQ8_0:
      return Run<DType::kQ8_0>::run(p, stream);
    case DType::kQ4_0:
      return Run<DType::kQ4_0>::run(p, stream);
    case DType::kQ4_1:
      return Run<DType::kQ4_1>::run(p, stream);
    case DType::kQ5_0:
      return Run<DType::kQ5_0>::run(p, stream);
    case DType::kQ5_1:
      return Run<DType::kQ5_1>::run(p, stream);
    case DType::kQ4_K:
      return Run<DType::kQ4_K>::run(p, stream);
    case DType::kQ5_K:
      return Run<DType::kQ5_K>::run(p, stream);
    case DType::kQ6_K:
      return Run<DType::kQ6_K>::run(p, stream);
    default:
      return "weights of this type have no kernel";
  }
}

template <DType kType>
struct RunLinear {
  template <int kRows>
  static const char* rows(const DeviceLinear& p, void* stream) {
    if (p.rows == kRows) return run_warps(p.weight.out, LinearOutput<kType, kRows>{p}, stream);
    if constexpr (kRows < kDeviceFewRows) return rows<kRows + 1>(p, stream);
    return "too many rows for the kernel of few";
  }
  static const char* run(const DeviceLinear& p, void* stream) { return rows<1>(p, stream); }
};

template <DType kType>
struct RunExpand {
  static const char* run(const DeviceExpand& p, void* stream) {
    return run_threads(p.count * p.weight.in / 32, ExpandUnit<kType>{p}, stream);
  }
};

const char* linear_rows(const DeviceLinear& p, void* stream) { return for_type<RunLinear>(p, stream); }
const char* expand_rows(const DeviceExpand& p, void* stream) { return for_type<RunExpand>(p, stream); }
const char* rms_norm(const DeviceNorm& p, void* stream) { return run_warps(p.rows, NormRow{p}, stream); }
const char* swiglu(const DeviceSwiglu& p, void* stream) { return run_threads(p.n, SwigluElement{p}, stream); }
const char* rotate(const DeviceRotate& p, void* stream) {
  return run_threads(p.rows * p.heads * (p.head_dim / 2), RotatePair{p}, stream);
}

}  // namespace
}  // namespace beacon::kernels

extern "C" __attribute__((visibility("default"))) const beacon::kernels::DeviceKernels* beacon_device_kernels() {
  using namespace beacon::kernels;
  static const DeviceKernels table = {kDeviceKernelsVersion, linear_rows, expand_rows,       rms_norm,
                                      swiglu,                rotate,      free_device_bytes};
  return &table;
}
