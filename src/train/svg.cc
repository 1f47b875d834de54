// Drawing a chart.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "train/plot.h"

namespace beacon {
namespace {

constexpr double kWidth = 720, kHeight = 260;
constexpr double kLeft = 64, kRight = 12, kTop = 28, kBottom = 32;
// Told apart by most colour-blind readers (Okabe and Ito).
constexpr std::array kColours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void add(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  bool empty() const { return low > high; }
};

// 1, 2 or 5 times a power of ten, so that there are about five of them in the range.
double tick_step(const Range& range) {
  const double rough = (range.high - range.low) / 5;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= rough) return factor * power;
  }
  return 10 * power;
}

class Drawing {
 public:
  explicit Drawing(const Chart& chart) : chart_(chart) {
    for (const Series& series : chart.series) {
      for (const auto& [x, y] : series.points) {
        if (!usable(x, y)) continue;
        x_.add(x);
        y_.add(scaled(y));
      }
    }
    widen(x_);
    widen(y_);
  }

  std::string draw() {
    out_ = fmt::format(
        "<svg viewBox=\"0 0 {} {}\" role=\"img\">\n<text class=\"title\" x=\"{}\" y=\"16\">{}</text>\n",
        kWidth, kHeight, kLeft, escape(chart_.title));
    if (x_.empty()) {
      out_ += fmt::format("<text x=\"{}\" y=\"{}\">no data</text>\n</svg>\n", kLeft, kHeight / 2);
      return out_;
    }
    axes();
    for (size_t i = 0; i < chart_.series.size(); ++i) line(chart_.series[i], kColours[i % kColours.size()]);
    legend();
    return out_ + "</svg>\n";
  }

 private:
  bool usable(double x, double y) const {
    return std::isfinite(x) && std::isfinite(y) && (!chart_.log_scale || y > 0);
  }
  double scaled(double y) const { return chart_.log_scale ? std::log10(y) : y; }
  double px(double x) const { return kLeft + (x - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight); }
  double py(double y) const {
    return kHeight - kBottom - (scaled(y) - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
  }

  static void widen(Range& range) {
    if (range.empty()) return;
    const double margin =
        range.high > range.low ? 0.02 * (range.high - range.low) : 0.5 + 0.01 * std::abs(range.low);
    range.low -= margin;
    range.high += margin;
  }

  static std::string escape(const std::string& text) {
    std::string out;
    for (const char c : text)
      out += c == '<'   ? "&lt;"
             : c == '>' ? "&gt;"
             : c == '&' ? "&amp;"
             : c == '"' ? "&quot;"
                        : std::string(1, c);
    return out;
  }

  void axes() {
    const double step_x = tick_step(x_), step_y = tick_step(y_);
    for (double x = std::ceil(x_.low / step_x) * step_x; x <= x_.high; x += step_x) {
      out_ += fmt::format(
          "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text x=\"{0:.1f}\" "
          "y=\"{3}\" text-anchor=\"middle\">{4:g}</text>\n",
          px(x), kTop, kHeight - kBottom, kHeight - kBottom + 16, std::abs(x) < step_x / 2 ? 0.0 : x);
    }
    for (double y = std::ceil(y_.low / step_y) * step_y; y <= y_.high; y += step_y) {
      const double value = chart_.log_scale ? std::pow(10.0, y) : std::abs(y) < step_y / 2 ? 0.0 : y;
      out_ += fmt::format(
          "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/><text x=\"{3}\" "
          "y=\"{4:.1f}\" text-anchor=\"end\">{5:.4g}</text>\n",
          kLeft, kWidth - kRight, py(value), kLeft - 6, py(value) + 4, value);
    }
    out_ += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n", kWidth - kRight, 16,
                        escape(chart_.y_name));
  }

  void line(const Series& series, const char* colour) {
    std::string path;
    for (const auto& [x, y] : series.points) {
      if (!usable(x, y)) continue;
      path += fmt::format("{:.1f},{:.1f} ", px(x), py(y));
      if (series.dots)
        out_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>\n", px(x), py(y),
                            colour);
    }
    if (path.empty()) return;
    out_ += fmt::format("<polyline points=\"{}\" stroke=\"{}\"{}/>\n", path, colour,
                        series.faint ? " opacity=\"0.3\"" : "");
  }

  void legend() {
    double x = kLeft + 8;
    for (size_t i = 0; i < chart_.series.size(); ++i) {
      const Series& series = chart_.series[i];
      if (series.name.empty() || series.points.empty()) continue;
      out_ += fmt::format("<text x=\"{:.1f}\" y=\"{}\" style=\"fill:{}\">{}</text>\n", x, kTop + 12,
                          kColours[i % kColours.size()], escape(series.name));
      x += 7.0 * static_cast<double>(series.name.size()) + 16;
    }
  }

  const Chart& chart_;
  Range x_, y_;
  std::string out_;
};

}  // namespace

std::string to_svg(const Chart& chart) { return Drawing(chart).draw(); }

}  // namespace beacon
