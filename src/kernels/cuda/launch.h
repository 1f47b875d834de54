#pragma once
// How a kernel runs: a function of a number, for every number below n, each in a thread, a warp or a team of
// warps of its own. Compiled by anything but nvcc the same functions run in plain loops, which is how they
// are tested where there is no GPU. Warps work alone; a team has one sum to make, and no more.
#include <cstdint>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#define BEACON_DEVICE __device__ __forceinline__
#define BEACON_UNROLL(n) _Pragma(BEACON_TEXT(unroll n))
#define BEACON_TEXT(x) #x
#else
#include <cmath>
#define BEACON_DEVICE inline
#define BEACON_UNROLL(n)
#endif

namespace beacon::kernels {

inline constexpr int kLanes = 32;
inline constexpr int kMembers = 256;  // threads of a team

#if defined(__CUDACC__)

// A value of each lane of a warp, or of each member of a team.
template <typename T, int kCount = kLanes>
struct PerLane {
  T own;
  BEACON_DEVICE T& operator[](int /*lane*/) { return own; }
};

template <typename Body>
BEACON_DEVICE void each_lane(const Body& body) {
  body(static_cast<int>(threadIdx.x) % kLanes);
}

// The sum over the lanes, in every lane.
template <typename T, int kCount, typename Pick>
BEACON_DEVICE float lane_sum(PerLane<T, kCount>& values, const Pick& pick) {
  float sum = pick(values.own);
  for (int distance = kLanes / 2; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(0xFFFFFFFFU, sum, distance);
  return sum;
}

template <typename T, typename Pick>
BEACON_DEVICE float lane_max(PerLane<T>& values, const Pick& pick) {
  float most = pick(values.own);
  for (int distance = kLanes / 2; distance > 0; distance /= 2)
    most = fmaxf(most, __shfl_xor_sync(0xFFFFFFFFU, most, distance));
  return most;
}

// Each lane gets the sum over those whose number differs from its own in the bits kFrom, 2 kFrom, ... below
// kTo.
template <int kFrom, int kTo, typename T, typename Pick>
BEACON_DEVICE void sum_across(PerLane<T>& values, const Pick& pick) {
  float& own = pick(values.own);
  for (int distance = kFrom; distance < kTo; distance *= 2)
    own += __shfl_xor_sync(0xFFFFFFFFU, own, distance);
}

// What lane number `at` of each kWidth neighbours has, in all of them.
template <int kWidth, typename T, typename Pick>
BEACON_DEVICE float of_neighbour(PerLane<T>& values, int /*lane*/, int at, const Pick& pick) {
  return __shfl_sync(0xFFFFFFFFU, pick(values.own), at, kWidth);
}

template <typename Body>
BEACON_DEVICE void each_member(const Body& body) {
  body(static_cast<int>(threadIdx.x));
}

// The sum over a team's own numbers, in every member. Once in a kernel.
BEACON_DEVICE float team_sum(PerLane<float, kMembers>& values) {
  __shared__ float sums[kMembers / kLanes];
  float sum = lane_sum(values, [](float each) { return each; });
  if (threadIdx.x % kLanes == 0) sums[threadIdx.x / kLanes] = sum;
  __syncthreads();
  sum = 0;
  for (int warp = 0; warp < kMembers / kLanes; ++warp) sum += sums[warp];
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

template <typename Kernel>
__global__ void teams_of(Kernel kernel) {
  kernel(static_cast<int64_t>(blockIdx.x));
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
const char* run_teams(int64_t n, const Kernel& kernel, void* stream) {
  if (n == 0) return nullptr;
  teams_of<<<static_cast<unsigned>(n), kMembers, 0, static_cast<cudaStream_t>(stream)>>>(kernel);
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

#endif

}  // namespace beacon::kernels

#if !defined(__CUDACC__)
#include "kernels/cuda/loops.h"
#endif
