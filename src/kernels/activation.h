#pragma once
// Pointwise functions and row reductions. Results may be written over the inputs (same pointer, not shifted).
#include <cstdint>

namespace beacon::kernels {

// y = e^x, relative error below 1e-6 where the result is a normal number, absolute error of the smallest
// subnormal below that; e^-inf = 0, e^inf = inf, NaN stays NaN.
void exp_row(const float* x, float* y, int64_t n) noexcept;

// y = x / (1 + e^-x).
void silu(const float* x, float* y, int64_t n) noexcept;

// y = e^(x - max) / sum. A row of -inf only gives zeros; any NaN or +inf gives NaN somewhere. n >= 1.
void softmax_row(const float* x, float* y, int64_t n) noexcept;

// The index of the largest element, the first one of equals; NaN never wins; 0 when all are NaN. n >= 1.
int64_t argmax(const float* x, int64_t n) noexcept;

}  // namespace beacon::kernels
