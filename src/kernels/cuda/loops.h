#pragma once
// What launch.h has, as plain loops for the processor.
#include <cmath>
#include <cstdint>

#include "kernels/cuda/launch.h"

namespace beacon::kernels {

template <typename T, int kCount = kLanes>
struct PerLane {
  T all[kCount];
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

template <typename Body>
void each_member(const Body& body) {
  for (int member = 0; member < kMembers; ++member) body(member);
}

inline float team_sum(PerLane<float, kMembers>& values) {
  float sum = 0;
  for (const float value : values.all) sum += value;
  return sum;
}

template <typename T, typename Pick>
float lane_max(PerLane<T>& values, const Pick& pick) {
  float most = pick(values.all[0]);
  for (T& value : values.all) most = std::fmax(most, pick(value));
  return most;
}

template <int kFrom, int kTo, typename T, typename Pick>
void sum_across(PerLane<T>& values, const Pick& pick) {
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((lane & (kTo - kFrom)) != 0) continue;
    float sum = 0;
    for (int other = 0; other < kTo; other += kFrom) sum += pick(values.all[lane + other]);
    for (int other = 0; other < kTo; other += kFrom) pick(values.all[lane + other]) = sum;
  }
}

template <int kWidth, typename T, typename Pick>
float of_neighbour(PerLane<T>& values, int lane, int at, const Pick& pick) {
  return pick(values.all[lane / kWidth * kWidth + at]);
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

template <typename Kernel>
const char* run_teams(int64_t n, const Kernel& kernel, void* stream) {
  return run_warps(n, kernel, stream);
}

inline int64_t free_device_bytes() { return int64_t{1} << 40; }

}  // namespace beacon::kernels
