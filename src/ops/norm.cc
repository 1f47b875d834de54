#include "ops/norm.h"

#include "base/check.h"
#include "kernels/norm.h"
#include "ops/parallel.h"

namespace beacon::ops {
namespace {

constexpr int64_t kRowsPerPiece = 16;

void check_rows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& y) {
  BEACON_CHECK(x.dim() == 2 && x.is_contiguous() && y.is_contiguous() && x.sizes() == y.sizes());
  BEACON_CHECK(weight.numel() == x.size(1) && x.scalar_type() == at::kFloat &&
               weight.scalar_type() == at::kFloat);
}

}  // namespace

void rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y) {
  check_rows(x, weight, y);
  const int64_t cols = x.size(1);
  const float* xp = x.const_data_ptr<float>();
  const float* wp = weight.const_data_ptr<float>();
  float* yp = y.data_ptr<float>();
  parallel_for(x.size(0), kRowsPerPiece, [&](int64_t begin, int64_t end) {
    kernels::rms_norm(xp + begin * cols, wp, yp + begin * cols, end - begin, cols, static_cast<float>(eps));
  });
}

void add_rms_norm(const at::Tensor& x, const at::Tensor& residual, const at::Tensor& weight, double eps,
                  const at::Tensor& y) {
  check_rows(x, weight, y);
  BEACON_CHECK(residual.is_contiguous() && residual.sizes() == x.sizes());
  const int64_t cols = x.size(1);
  const float* xp = x.const_data_ptr<float>();
  float* rp = residual.data_ptr<float>();
  const float* wp = weight.const_data_ptr<float>();
  float* yp = y.data_ptr<float>();
  parallel_for(x.size(0), kRowsPerPiece, [&](int64_t begin, int64_t end) {
    kernels::add_rms_norm(xp + begin * cols, rp + begin * cols, wp, yp + begin * cols, end - begin, cols,
                          static_cast<float>(eps));
  });
}

}  // namespace beacon::ops
