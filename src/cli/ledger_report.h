#pragma once
// The ledger of a memory, for people and for programs.
#include <beacon/memory.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace beacon::cli {

// "8" when every window had this ratio, "2 x3, 8 x1" (windows of each) otherwise, "none" without closed
// windows.
std::string ratios_text(const std::vector<int64_t>& ratios);

// A small table of several lines, without a last newline.
std::string ledger_table(const Ledger& ledger);

// One line: tokens read, beacons, bytes, positions.
std::string meter_line(const Ledger& ledger);

nlohmann::ordered_json ledger_json(const Ledger& ledger);

}  // namespace beacon::cli
