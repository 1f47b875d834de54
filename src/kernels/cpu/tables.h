#pragma once
// The tables of the vector builds. Each is compiled from the same sources into a namespace of its own.
#include "kernels/table.h"

namespace beacon::kernels {

namespace cpu_baseline {
extern const KernelTable kTable;
}
namespace cpu_avx2 {
extern const KernelTable kTable;
}
namespace cpu_avx512 {
extern const KernelTable kTable;
}
namespace cpu_avx512bf16 {
extern const KernelTable kTable;
}

}  // namespace beacon::kernels
