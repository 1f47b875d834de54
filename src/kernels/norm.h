#pragma once
// Root-mean-square normalisation (Zhang and Sennrich 2019).
#include <cstdint>

namespace beacon::kernels {

// y[r] = x[r] / sqrt(mean(x[r]^2) + eps) * weight. x, y [rows, cols] contiguous, weight [cols]; y may be x.
// Accumulates in f32 or wider. Rows are independent: split them over threads by offsetting the pointers.
void rms_norm(const float* x, const float* weight, float* y, int64_t rows, int64_t cols, float eps) noexcept;

// residual += x, then y = rms_norm(residual). All [rows, cols] contiguous; y may be x, not residual.
void add_rms_norm(const float* x, float* residual, const float* weight, float* y, int64_t rows, int64_t cols,
                  float eps) noexcept;

}  // namespace beacon::kernels
