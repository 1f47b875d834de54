// The kernels of a GPU. They are bound by memory: a product of few rows reads its blocks once, a warp for one
// output or two; the rest is a pass over numbers.
#include "kernels/cuda/attention.h"
#include "kernels/cuda/device_kernels.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/numbers.h"
#include "kernels/cuda/weights_k.h"

namespace beacon::kernels {
namespace {

template <int kOutputs, int kRows>
struct Sums {
  float of[kOutputs][kRows];
};

// A warp makes neighbouring outputs, for which a lane loads and widens x once.
template <DType kType, int kRows>
struct LinearOutputs {
  static constexpr int kAtOnce = kRows > 4 ? 1 : 2;
  DeviceLinear p;
  int64_t outputs;

  BEACON_DEVICE DeviceTarget target_of(int64_t& o) const {
    DeviceTarget target = p.targets[0];
    for (int t = 1; t < kDeviceTargets; ++t) {
      if (t < p.num_targets && o >= target.weight.out) {
        o -= target.weight.out;
        target = p.targets[t];
      }
    }
    return target;
  }

  // Every lane has eight weights of each unit it looks at, a quarter.
  BEACON_DEVICE void operator()(int64_t group) const {
    DeviceTarget target[kAtOnce];
    int64_t output[kAtOnce];
    const uint8_t* row[kAtOnce];
    for (int k = 0; k < kAtOnce; ++k) {
      const int64_t number = kAtOnce * group + k;
      output[k] = number < outputs ? number : outputs - 1;
      target[k] = target_of(output[k]);
      row[k] =
          reinterpret_cast<const uint8_t*>(target[k].weight.data) + output[k] * target[k].weight.row_bytes;
    }
    const auto units = static_cast<int>(target[0].weight.in / 32);
    PerLane<Sums<kAtOnce, kRows>> sums;
    each_lane([&](int lane) {
      Sums<kAtOnce, kRows>& own = sums[lane];
      for (int k = 0; k < kAtOnce; ++k) {
        for (int r = 0; r < kRows; ++r) own.of[k][r] = 0;
      }
      const int part = lane % 4;
      // Several units are under way before the first is multiplied.
      constexpr int kAhead = kRows > 4 ? 2 : 4;
      constexpr int kStep = kLanes / 4;
      for (int first = lane / 4; first < units; first += kAhead * kStep) {
        typename Units<kType>::Fetched fetched[kAhead][kAtOnce];
        BEACON_UNROLL(4)
        for (int i = 0; i < kAhead; ++i) {
          const int unit = first + i * kStep;
          for (int k = 0; k < kAtOnce; ++k)
            fetched[i][k] = Units<kType>::fetch(row[k], units, unit < units ? unit : first, part);
        }
        BEACON_UNROLL(4)
        for (int i = 0; i < kAhead; ++i) {
          if (first + i * kStep < units) add(fetched[i], first + i * kStep, part, own);
        }
      }
    });
    for (int k = 0; k < kAtOnce; ++k) {
      if (kAtOnce * group + k >= outputs) return;
      for (int r = 0; r < kRows; ++r) {
        float total = lane_sum(sums, [k, r](const Sums<kAtOnce, kRows>& each) { return each.of[k][r]; });
        if (target[k].bias != nullptr) total += target[k].bias[output[k]];
        each_lane([&](int lane) {
          if (lane == 0) store(target[k].y_type, target[k].y, r * target[k].y_stride + output[k], total);
        });
      }
    }
  }

  BEACON_DEVICE void add(const typename Units<kType>::Fetched* fetched, int unit, int part,
                         Sums<kAtOnce, kRows>& own) const {
    float q[kAtOnce][8];
    Scaling scaling[kAtOnce];
    for (int k = 0; k < kAtOnce; ++k) {
      Units<kType>::numbers(fetched[k], q[k]);
      scaling[k] = Units<kType>::scaling(fetched[k]);
    }
    for (int r = 0; r < kRows; ++r) {
      const uint16_t* from = p.x + r * p.x_stride + 32 * unit;
      float x[8], sum = 0;
      load_some<4>(DType::kBF16, from, Units<kType>::first(part), x);
      load_some<4>(DType::kBF16, from, Units<kType>::second(part), x + 4);
      for (int j = 0; j < 8; ++j) sum += x[j];
      for (int k = 0; k < kAtOnce; ++k) {
        float product = 0;
        for (int j = 0; j < 8; ++j) product += q[k][j] * x[j];
        own.of[k][r] += scaling[k].scale * product + scaling[k].shift * sum;
      }
    }
  }
};

template <DType kType>
struct ExpandPart {
  DeviceExpand p;
  BEACON_DEVICE void operator()(int64_t i) const {
    const int part = static_cast<int>(i % 4);
    const int64_t units = p.weight.in / 32, row = i / 4 / units, unit = i / 4 % units;
    const int64_t source = p.index == nullptr ? row : p.index[row];
    float w[8];
    const auto* from = reinterpret_cast<const uint8_t*>(p.weight.data) + source * p.weight.row_bytes;
    const auto fetched = Units<kType>::fetch(from, units, unit, part);
    Units<kType>::numbers(fetched, w);
    const Scaling scaling = Units<kType>::scaling(fetched);
    for (int j = 0; j < 8; ++j) w[j] = scaling.scale * w[j] + scaling.shift;
    uint16_t* to = p.to + row * p.weight.in + 32 * unit;
    store_some<4>(DType::kBF16, to, Units<kType>::first(part), w);
    store_some<4>(DType::kBF16, to, Units<kType>::second(part), w + 4);
  }
};

// Four neighbours at a time where rows can be cut so. Several are read before the first is written: a
// compiler cannot know that they are not the same.
template <int kAtOnce>
struct NormRow {
  static constexpr int64_t kStep = kAtOnce * kMembers;
  DeviceNorm p;

  BEACON_DEVICE void load_sum(int64_t i, float* value) const {
    load_some<kAtOnce>(DType::kF32, p.x, i, value);
    if (p.branch == nullptr) return;
    float more[kAtOnce];
    load_some<kAtOnce>(p.branch_type, p.branch, i, more);
    for (int j = 0; j < kAtOnce; ++j) value[j] += more[j];
  }

  BEACON_DEVICE void operator()(int64_t row) const {
    const int64_t first = row * p.cols;
    PerLane<float, kMembers> squares;
    each_member([&](int member) {
      float& own = squares[member];
      own = 0;
      BEACON_UNROLL(4)
      for (int64_t c = kAtOnce * member; c < p.cols; c += kStep) {
        float value[kAtOnce];
        load_sum(first + c, value);
        for (int j = 0; j < kAtOnce; ++j) own += value[j] * value[j];
      }
    });
    const float mean = team_sum(squares) / static_cast<float>(p.cols);
#if defined(__CUDACC__)
    const float scale = rsqrtf(mean + p.eps);
#else
    const float scale = 1.0F / std::sqrt(mean + p.eps);
#endif
    each_member([&](int member) {
      constexpr int kPieces = 4;
      for (int64_t c = kAtOnce * member; c < p.cols; c += kPieces * kStep) {
        float value[kPieces][kAtOnce], weight[kPieces][kAtOnce];
        for (int i = 0; i < kPieces; ++i) {
          if (c + i * kStep >= p.cols) continue;
          load_sum(first + c + i * kStep, value[i]);
          load_some<kAtOnce>(DType::kF32, p.weight, c + i * kStep, weight[i]);
        }
        for (int i = 0; i < kPieces; ++i) {
          if (c + i * kStep >= p.cols) continue;
          if (p.branch != nullptr) store_some<kAtOnce>(DType::kF32, p.x, first + c + i * kStep, value[i]);
          for (int j = 0; j < kAtOnce; ++j) value[i][j] = value[i][j] * scale * weight[i][j];
          store_some<kAtOnce>(p.y_type, p.y, first + c + i * kStep, value[i]);
        }
      }
    });
  }
};

template <int kAtOnce>
struct SwigluSome {
  DeviceSwiglu p;
  BEACON_DEVICE void operator()(int64_t i) const {
    float gate[kAtOnce], up[kAtOnce];
    load_some<kAtOnce>(p.type, p.gate, kAtOnce * i, gate);
    load_some<kAtOnce>(p.type, p.up, kAtOnce * i, up);
    for (int j = 0; j < kAtOnce; ++j) gate[j] = gate[j] / (1.0F + exp_of(-gate[j])) * up[j];
    store_some<kAtOnce>(p.type, p.out, kAtOnce * i, gate);
  }
};

template <int kAtOnce>
struct RotatePairs {
  DeviceRotate p;
  BEACON_DEVICE void operator()(int64_t i) const {
    const int64_t half = p.head_dim / 2, pieces = half / kAtOnce;
    const int64_t at = i % pieces * kAtOnce, head = i / pieces % p.heads, row = i / pieces / p.heads;
    const int64_t from = row * p.x_row_stride + head * p.x_head_stride + at;
    const int64_t to = row * p.y_row_stride + head * p.y_head_stride + at;
    float a[kAtOnce], b[kAtOnce], cos[kAtOnce], sin[kAtOnce];
    load_some<kAtOnce>(DType::kF32, p.cos, row % p.table_rows * half + at, cos);
    load_some<kAtOnce>(DType::kF32, p.sin, row % p.table_rows * half + at, sin);
    load_some<kAtOnce>(p.x_type, p.x, from, a);
    load_some<kAtOnce>(p.x_type, p.x, from + half, b);
    for (int j = 0; j < kAtOnce; ++j) {
      const float turned = a[j] * cos[j] - b[j] * sin[j];
      b[j] = b[j] * cos[j] + a[j] * sin[j];
      a[j] = turned;
    }
    store_some<kAtOnce>(p.y_type, p.y, to, a);
    store_some<kAtOnce>(p.y_type, p.y, to + half, b);
  }
};

struct MergeFour {
  DeviceMerge p;
  BEACON_DEVICE void operator()(int64_t i) const {
    const int64_t head = 4 * i / p.head_dim, row = head / p.heads;
    const int64_t sums = (row / p.rows * p.heads + head % p.heads) * p.rows + row % p.rows;
    const float share = 1.0F / (1.0F + exp_of(p.log_sum_a[sums] - p.log_sum_b[sums]));
    float a[4], b[4];
    load_some<4>(p.type, p.a, 4 * i, a);
    load_some<4>(p.type, p.b, 4 * i, b);
    for (int j = 0; j < 4; ++j) a[j] += (b[j] - a[j]) * share;
    store_some<4>(p.type, p.out, 4 * i, a);
  }
};

struct AppendPair {
  DeviceAppend p;
  BEACON_DEVICE void operator()(int64_t i) const {
    const int64_t half = p.head_dim / 2, at = i % half, head = i / half % p.heads, row = i / half / p.heads;
    const float cos = p.cos[row * half + at], sin = p.sin[row * half + at];
    const int64_t from = (row * p.heads + head) * p.head_dim + at;
    const int64_t to = head * p.to_head_stride + row * p.to_row_stride + at;
    const float a = load(p.x_type, p.k, from), b = load(p.x_type, p.k, from + half);
    store(p.to_type, p.k_to, to, a * cos - b * sin);
    store(p.to_type, p.k_to, to + half, b * cos + a * sin);
    store(p.to_type, p.v_to, to, load(p.x_type, p.v, from));
    store(p.to_type, p.v_to, to + half, load(p.x_type, p.v, from + half));
    if (p.k_before == nullptr) return;
    const int64_t before = head * p.before_head_stride + row * p.before_row_stride + at;
    p.k_before[before] = a;
    p.k_before[before + half] = b;
  }
};

template <template <DType> class Run, typename Params>
const char* for_type(DType type, const Params& p, void* stream) {
  switch (type) {
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
    if (p.rows == kRows) {
      int64_t outputs = 0;
      for (int t = 0; t < p.num_targets; ++t) outputs += p.targets[t].weight.out;
      using Kernel = LinearOutputs<kType, kRows>;
      return run_warps((outputs + Kernel::kAtOnce - 1) / Kernel::kAtOnce, Kernel{p, outputs}, stream);
    }
    if constexpr (kRows < kDeviceFewRows) return rows<kRows + 1>(p, stream);
    return "too many rows for the kernel of few";
  }
  static const char* run(const DeviceLinear& p, void* stream) { return rows<1>(p, stream); }
};

template <DType kType>
struct RunExpand {
  static const char* run(const DeviceExpand& p, void* stream) {
    return run_threads(p.count * p.weight.in / 8, ExpandPart<kType>{p}, stream);
  }
};

const char* linear_rows(const DeviceLinear& p, void* stream) {
  for (int t = 1; t < p.num_targets; ++t) {
    if (p.targets[t].weight.type != p.targets[0].weight.type) return "weights of one type were expected";
  }
  return for_type<RunLinear>(p.targets[0].weight.type, p, stream);
}
const char* expand_rows(const DeviceExpand& p, void* stream) {
  return for_type<RunExpand>(p.weight.type, p, stream);
}
const char* rms_norm(const DeviceNorm& p, void* stream) {
  if (p.cols % 4 == 0) return run_teams(p.rows, NormRow<4>{p}, stream);
  return run_teams(p.rows, NormRow<1>{p}, stream);
}
const char* swiglu(const DeviceSwiglu& p, void* stream) {
  if (p.n % 4 == 0) return run_threads(p.n / 4, SwigluSome<4>{p}, stream);
  return run_threads(p.n, SwigluSome<1>{p}, stream);
}
const char* rotate(const DeviceRotate& p, void* stream) {
  const int64_t pairs = p.rows * p.heads * (p.head_dim / 2);
  bool together = p.head_dim % 8 == 0;
  for (const int64_t stride : {p.x_row_stride, p.x_head_stride, p.y_row_stride, p.y_head_stride})
    together = together && stride % 4 == 0;
  for (const void* data : {p.x, static_cast<const void*>(p.y)})
    together = together && reinterpret_cast<uintptr_t>(data) % 16 == 0;
  if (together) return run_threads(pairs / 4, RotatePairs<4>{p}, stream);
  return run_threads(pairs, RotatePairs<1>{p}, stream);
}
const char* merge(const DeviceMerge& p, void* stream) {
  if (p.head_dim % 4 != 0) return "heads of a multiple of 4 numbers were expected";
  return run_threads(p.batch * p.rows * p.heads * p.head_dim / 4, MergeFour{p}, stream);
}
const char* append(const DeviceAppend& p, void* stream) {
  return run_threads(p.rows * p.heads * (p.head_dim / 2), AppendPair{p}, stream);
}

}  // namespace
}  // namespace beacon::kernels

extern "C" __attribute__((visibility("default"))) const beacon::kernels::DeviceKernels*
beacon_device_kernels() {
  using namespace beacon::kernels;
  static const DeviceKernels table = {
      kDeviceKernelsVersion, linear_rows, expand_rows, rms_norm, swiglu, rotate, append, attention, merge,
      free_device_bytes};
  return &table;
}
