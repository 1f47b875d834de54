#pragma once
// What the machine can do at most: the ceilings that measured speeds are compared with.

namespace beacon::ops {

// Floating-point operations a second of torch's product of matrices [1152, 1536] and [1536, 1536], in bf16 or
// f32, on all threads: the median of several. A few tenths of a second where bf16 is native; emulated bf16
// takes seconds.
double measure_gemm_peak(bool bf16);

// Bytes a second of plain reading, 256 MiB shared by all threads: the median of several.
double measure_read_peak();

}  // namespace beacon::ops
