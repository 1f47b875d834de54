#include "ops/parallel.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>

namespace beacon::ops {

void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  at::parallel_for(0, n, grain, body);
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
