#pragma once
// Which rows a new row sees (study 1.2, 1.5, 1.10). Internal to the module.
#include <cstdint>
#include <vector>

#include "window/layout.h"
#include "window/options.h"

namespace beacon {

// True when every new row sees all memory and all rows up to itself.
bool is_causal(const Layout& layout, const WindowOptions& options);

// [T, sink + beacons + cached + T] 1 = visible.
std::vector<uint8_t> build_mask(const Layout& layout, const WindowOptions& options);

}  // namespace beacon
