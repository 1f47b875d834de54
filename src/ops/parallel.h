#pragma once
// Splitting kernel calls over torch's thread pool, and scratch that is allocated once and grows.
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>

#include "ops/thread_count.h"

namespace beacon::ops {

// Runs body(begin, end) over [0, n) in pieces of at least `grain` on torch's intra-op threads. Exceptions
// reach the caller. Inside another parallel region it runs on the calling thread.
void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body);

// Runs body(i) once for each i in [0, n), handing the numbers out one by one: for few pieces of unequal size.
// Otherwise as parallel_for.
void parallel_each(int64_t n, const std::function<void(int64_t)>& body);

// Index of the thread that runs a body, in [0, num_threads()).
int thread_index();

// A float buffer that keeps its memory between calls, so that a decode step allocates nothing. One per
// worker.
class Scratch {
 public:
  // At least n elements of the type, contents undefined; a later call for the same Scratch invalidates it.
  float* floats(int64_t n);
  // The same memory as a matrix [rows, cols] of the type. On a GPU, whose allocator keeps memory by itself, a
  // fresh one.
  at::Tensor matrix(int64_t rows, int64_t cols, at::ScalarType type, at::Device device = at::kCPU);

 private:
  at::Tensor buffer_;  // u8 [bytes]
  void* bytes(int64_t n);
};

}  // namespace beacon::ops
