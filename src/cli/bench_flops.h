#pragma once
// Floating-point operations by the shapes of a model: what a measured time is to be compared with.
#include <cstdint>

#include "cli/bench_run.h"

namespace beacon::cli {

// Reading `length` tokens: 2 (P - V D) for each row, beacons included, plus 4 L N H for each row and each key
// it may see. P parameters, V vocabulary, D hidden size, L layers, N query heads, H head dimension. The
// tables at both ends are left out: rows are looked up in the first, and only the last row meets the second.
// Exact for tied embeddings.
double prefill_flops(const ModelInfo& info, const BenchOptions& options, int64_t length);

// One token with `rows` keys in memory: 2 P + 4 L N H rows, the table at the end included.
double decode_flops(const ModelInfo& info, int64_t rows);

}  // namespace beacon::cli
