#include "cli/ledger_report.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>

#include "cli/terminal.h"

namespace beacon::cli {
namespace {

std::string bytes(int64_t count) { return human_bytes(static_cast<double>(count)); }

}  // namespace

std::string ratios_text(const std::vector<int64_t>& ratios) {
  std::map<int64_t, int64_t> windows;
  for (const int64_t ratio : ratios) ++windows[ratio];
  if (windows.empty()) return "none";
  if (windows.size() == 1) return fmt::format("{}", windows.begin()->first);
  std::string text;
  for (const auto& [ratio, count] : windows)
    text += fmt::format("{}{} x{}", text.empty() ? "" : ", ", ratio, count);
  return text;
}

std::string ledger_table(const Ledger& ledger) {
  const int64_t rows = ledger.sink_rows + ledger.beacon_rows + ledger.raw_rows;
  const int64_t total = ledger.sink_bytes + ledger.beacon_bytes + ledger.raw_bytes;
  std::string text = fmt::format("{:<14}{:>12}{:>14}\n", "memory", "rows", "bytes");
  const auto row = [&](const char* name, int64_t count, int64_t size) {
    text += fmt::format("{:<14}{:>12}{:>14}\n", name, count, bytes(size));
  };
  row("sink", ledger.sink_rows, ledger.sink_bytes);
  row("beacons", ledger.beacon_rows, ledger.beacon_bytes);
  row("raw", ledger.raw_rows, ledger.raw_bytes);
  row("in all", rows, total);
  text += fmt::format("{:<14}{:>12}\n", "tokens read", ledger.tokens_read);
  text += fmt::format("{:<14}{:>12}   (windows closed: {})\n", "ratio", ratios_text(ledger.ratios),
                      ledger.ratios.size());
  text += fmt::format("{:<14}{:>12}   of {}\n", "positions", ledger.positions, ledger.max_positions);
  text += fmt::format("{:<14}{:>12}{:>14}", "weights", "", bytes(ledger.weight_bytes));
  return text;
}

std::string meter_line(const Ledger& ledger) {
  return fmt::format("[{} tokens read | {} beacons | {} of memory | {} of {} positions]", ledger.tokens_read,
                     ledger.beacon_rows, bytes(ledger.sink_bytes + ledger.beacon_bytes + ledger.raw_bytes),
                     ledger.positions, ledger.max_positions);
}

nlohmann::ordered_json ledger_json(const Ledger& ledger) {
  return {{"tokens_read", ledger.tokens_read}, {"sink_rows", ledger.sink_rows},
          {"beacon_rows", ledger.beacon_rows}, {"raw_rows", ledger.raw_rows},
          {"sink_bytes", ledger.sink_bytes},   {"beacon_bytes", ledger.beacon_bytes},
          {"raw_bytes", ledger.raw_bytes},     {"weight_bytes", ledger.weight_bytes},
          {"positions", ledger.positions},     {"max_positions", ledger.max_positions},
          {"mean_ratio", ledger.mean_ratio()}, {"ratios", ledger.ratios}};
}

}  // namespace beacon::cli
