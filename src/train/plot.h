#pragma once
// The curves of a run as one self-contained HTML page with SVG charts: no script, nothing from the network.
// Needs neither torch nor JSON to include.
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace beacon {

// One line of a chart.
struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x, y by rising x
  bool dots = false;                              // a mark at every point, for few of them
  bool faint = false;                             // behind the others: what is not smoothed
};

struct Chart {
  std::string title;
  std::string y_name;
  std::vector<Series> series;
  bool log_scale = false;  // of y; points that are not positive are left out
};

// <svg> ... </svg>; points that are not finite are left out. "no data" where nothing is left.
std::string to_svg(const Chart& chart);

// The page of a run's log.jsonl: loss, validation, loss per ratio, learning rate, gradient, speed. Throws
// kNotFound, or kBadFile naming the line; a last line that was cut by a kill is passed over.
std::string run_to_html(const std::filesystem::path& log, const std::string& title);

// Reads RUN/log.jsonl and writes RUN/plot.html; gives its path.
std::filesystem::path plot_run(const std::filesystem::path& run);

}  // namespace beacon
