#pragma once
// What the machine can do at most: the ceilings that measured speeds are compared with.

#include <string>

namespace beacon::ops {

// Floating-point operations a second of torch's product of matrices [1152, 1536] and [1536, 1536], in bf16 or
// f32, on all threads: the median of several. A few tenths of a second where bf16 is native; emulated bf16
// takes seconds. On a GPU the matrices are [8192, 8192].
double measure_gemm_peak(bool bf16, const std::string& device = "cpu");

// Bytes a second of plain reading, 256 MiB shared by all threads: the median of several. On a GPU torch's sum
// of 1 GiB.
double measure_read_peak(const std::string& device = "cpu");

}  // namespace beacon::ops
