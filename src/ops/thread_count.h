#pragma once
// How many threads products and kernels are shared by; free of torch, for those who only want to say or show
// it.

namespace beacon::ops {

// Threads parallel_for uses at most.
int num_threads();

// Sets it for the whole process; before the first product.
void set_num_threads(int threads);

}  // namespace beacon::ops
