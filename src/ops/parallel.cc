#include "ops/parallel.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>

#ifndef INTRA_OP_PARALLEL
#error "at::parallel_for would run on one thread: compile this file with -fopenmp"
#endif

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace beacon::ops {
namespace {

// The run-time orders caller and workers at both ends of a region. ThreadSanitizer, which it is not built
// with, has to be told.
void hand_over([[maybe_unused]] void* region) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(region);
#endif
}

void take_over([[maybe_unused]] void* region) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(region);
#endif
}

}  // namespace

void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  char region = 0;
  hand_over(&region);
  at::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) {
    take_over(&region);
    body(begin, end);
    hand_over(&region);
  });
  take_over(&region);
}

void parallel_each(int64_t n, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  parallel_for(std::min<int64_t>(n, num_threads()), 1, [&](int64_t begin, int64_t end) {
    if (begin == end) return;
    for (int64_t i = next.fetch_add(1); i < n; i = next.fetch_add(1)) body(i);
  });
}

int num_threads() { return at::get_num_threads(); }
void set_num_threads(int threads) { at::set_num_threads(threads); }
int thread_index() { return at::get_thread_num(); }

void* Scratch::bytes(int64_t n) {
  if (!buffer_.defined() || buffer_.numel() < n) buffer_ = at::empty({n}, at::kByte);
  return buffer_.data_ptr();
}

float* Scratch::floats(int64_t n) {
  return static_cast<float*>(bytes(n * static_cast<int64_t>(sizeof(float))));
}

at::Tensor Scratch::matrix(int64_t rows, int64_t cols, at::ScalarType type, at::Device device) {
  if (!device.is_cpu()) return at::empty({rows, cols}, at::TensorOptions(device).dtype(type));
  const auto size = static_cast<int64_t>(c10::elementSize(type));
  return at::from_blob(bytes(rows * cols * size), {rows, cols}, at::TensorOptions().dtype(type));
}

}  // namespace beacon::ops
