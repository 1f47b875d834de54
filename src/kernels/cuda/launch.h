#pragma once
// How a kernel runs: a function of a number, for every number below n, each in a warp or in a thread of its
// own. Compiled by anything but nvcc the same functions run in plain loops, which is how they are tested
// where there is no GPU. Warps work alone: there is no shared memory and no barrier.
#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define BEACON_DEVICE __device__ __forceinline__
#else
#include <cmath>
#define BEACON_DEVICE inline
#endif

namespace beacon::kernels {

inline constexpr int kLanes = 32;

#if defined(__CUDACC__)

// A value of each lane of a warp.
template <typename T>
struct PerLane {
  T own;
  BEACON_DEVICE T& operator[](int /*lane*/) { return own; }
};

template <typename Body>
BEACON_DEVICE void each_lane(const Body& body) {
  body(static_cast<int>(threadIdx.x) % kLanes);
}

// The sum over the lanes, in every lane.
template <typename T, typename Pick>
BEACON_DEVICE float lane_sum(PerLane<T>& values, const Pick& pick) {
  float sum = pick(values.own);
  for (int distance = kLanes / 2; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(0xFFFFFFFFU, sum, distance);
  return sum;
}

inline constexpr int kWarpsOfABlock = 4;

template <typename Kernel>
__global__ void warps_of(int64_t n, Kernel kernel) {
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarpsOfABlock + threadIdx.x / kLanes;
  if (warp < n) kernel(warp);
}

template <typename Kernel>
__global__ void threads_of(int64_t n, Kernel kernel) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (thread < n) kernel(thread);
}

inline const char* launch_error() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

template <typename Kernel>
const char* run_warps(int64_t n, const Kernel& kernel, void* stream) {
  if (n == 0) return nullptr;
  const auto blocks = static_cast<unsigned>((n + kWarpsOfABlock - 1) / kWarpsOfABlock);
  warps_of<<<blocks, kWarpsOfABlock * kLanes, 0, static_cast<cudaStream_t>(stream)>>>(n, kernel);
  return launch_error();
}

template <typename Kernel>
const char* run_threads(int64_t n, const Kernel& kernel, void* stream) {
  if (n == 0) return nullptr;
  constexpr int kThreads = 256;
  const auto blocks = static_cast<unsigned>((n + kThreads - 1) / kThreads);
  threads_of<<<blocks, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(n, kernel);
  return launch_error();
}

inline int64_t free_device_bytes() {
  size_t free = 0, total = 0;
  return cudaMemGetInfo(&free, &total) == cudaSuccess ? static_cast<int64_t>(free) : 0;
}

#else

template <typename T>
struct PerLane {
  T all[kLanes];
  T& operator[](int lane) { return all[lane]; }
};

template <typename Body>
void each_lane(const Body& body) {
  for (int lane = 0; lane < kLanes; ++lane) body(lane);
}

template <typename T, typename Pick>
float lane_sum(PerLane<T>& values, const Pick& pick) {
  float sum = 0;
  for (const T& value : values.all) sum += pick(value);
  return sum;
}

template <typename Kernel>
const char* run_warps(int64_t n, const Kernel& kernel, void* /*stream*/) {
  for (int64_t i = 0; i < n; ++i) kernel(i);
  return nullptr;
}

template <typename Kernel>
const char* run_threads(int64_t n, const Kernel& kernel, void* stream) {
  return run_warps(n, kernel, stream);
}

inline int64_t free_device_bytes() { return int64_t{1} << 40; }

#endif

}  // namespace beacon::kernels
