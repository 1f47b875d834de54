#include "ops/parallel.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <exception>

// A parallel region of the OpenMP run-time that libtorch uses, called as compilers call it. Its threads are
// those of torch's own products, so that the two never compete, and no file needs an OpenMP flag, without
// which at::parallel_for() compiles to a plain call.
extern "C" {
void GOMP_parallel(void (*body)(void*), void* data, unsigned threads, unsigned flags);
int omp_get_num_threads();
int omp_get_thread_num();
}

namespace beacon::ops {
namespace {

struct Region {
  int64_t n;
  int64_t grain;
  const std::function<void(int64_t, int64_t)>& body;
  // What the caller wrote is seen by every thread and what they wrote by the caller: the run-time sees to it
  // anyhow, but checkers of threads do not see into the run-time.
  std::atomic<int> entered{0};
  std::atomic<int> left{0};
  std::atomic<bool> failed{false};
  std::exception_ptr error;
};

void run_piece(Region& region, int64_t thread, int64_t threads) {
  const int64_t pieces = std::min(threads, (region.n + region.grain - 1) / region.grain);
  const int64_t size = (region.n + pieces - 1) / pieces;
  const int64_t begin = thread * size;
  if (begin >= region.n) return;
  const at::internal::ThreadIdGuard index(static_cast<int>(thread));
  const c10::ParallelGuard inside(true);
  region.body(begin, std::min(region.n, begin + size));
}

void run_thread(void* data) {
  Region& region = *static_cast<Region*>(data);
  region.entered.load(std::memory_order_acquire);
  try {
    run_piece(region, omp_get_thread_num(), omp_get_num_threads());
  } catch (...) {
    if (!region.failed.exchange(true)) region.error = std::current_exception();
  }
  region.left.fetch_add(1, std::memory_order_acq_rel);
}

}  // namespace

void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  Region region{n, std::max<int64_t>(1, grain), body};
  if (n <= 0) return;
  if (n <= region.grain || num_threads() == 1 || at::in_parallel_region()) return body(0, n);
  region.entered.store(1, std::memory_order_release);
  GOMP_parallel(run_thread, &region, /*threads=*/0, /*flags=*/0);
  region.left.load(std::memory_order_acquire);
  if (region.error) std::rethrow_exception(region.error);
}

void parallel_each(int64_t n, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  parallel_for(std::min<int64_t>(n, num_threads()), 1, [&](int64_t begin, int64_t end) {
    if (begin == end) return;
    for (int64_t i = next.fetch_add(1); i < n; i = next.fetch_add(1)) body(i);
  });
}

int num_threads() { return at::get_num_threads(); }
int thread_index() { return at::get_thread_num(); }

void* Scratch::bytes(int64_t n) {
  if (!buffer_.defined() || buffer_.numel() < n) buffer_ = at::empty({n}, at::kByte);
  return buffer_.data_ptr();
}

float* Scratch::floats(int64_t n) {
  return static_cast<float*>(bytes(n * static_cast<int64_t>(sizeof(float))));
}

at::Tensor Scratch::matrix(int64_t rows, int64_t cols, at::ScalarType type) {
  const auto size = static_cast<int64_t>(c10::elementSize(type));
  return at::from_blob(bytes(rows * cols * size), {rows, cols}, at::TensorOptions().dtype(type));
}

}  // namespace beacon::ops
