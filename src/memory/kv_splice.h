#pragma once
// Building one memory from parts of others: the tensor side of join and cut.
#include <cstdint>
#include <span>

#include "memory/kv_memory.h"

namespace beacon {

// Rows [begin, begin + count) of a memory, in its own numbering.
struct KvPiece {
  const KvMemory* from = nullptr;
  int64_t begin = 0;
  int64_t count = 0;
};

// The pieces one behind the other; row i of the result has position i, but for the last rows if
// `open_positions` (of the open window, counts.open of them) is given. Rows of a source's open window are
// rotated from their keys before RoPE, others by the difference of positions (rounded once more). The last
// counts.open rows must be the tail of the last piece, out of its source's open window. All sources have the
// given geometry.
KvMemory splice(const KvGeometry& geometry, std::span<const KvPiece> pieces, const KvCounts& counts,
                const ops::Rope& rope, std::span<const int32_t> open_positions = {});

}  // namespace beacon
