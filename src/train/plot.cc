#include "train/plot.h"

#include <cstdint>
#include <map>
#include <sstream>

#include "base/check.h"
#include "io/file_text.h"
#include "io/json_reader.h"

namespace beacon {
namespace {

constexpr const char* kStyle =
    "body{font:14px sans-serif;max-width:760px;margin:24px auto;padding:0 12px;color:#222}"
    "svg{display:block;width:100%;margin:18px 0}text{font:11px sans-serif;fill:#444}"
    "text.title{font-weight:bold;font-size:13px}"
    "line.grid{stroke:#ddd}polyline{fill:none;stroke-width:1.4}";

// The numbers of a log that the charts show.
struct Curves {
  Series loss{"loss", {}, false, true}, next_token{"next token"}, distillation{"distillation"};
  Series rate{"", {}}, norm{"", {}}, speed{"", {}}, mfu{"", {}};
  std::map<std::string, Series> by_ratio, valid;
  int64_t updates = 0;
  double tokens = 0, seconds = 0;
};

// Mean of the last points, which makes the course of a noisy line visible.
Series smoothed(const Series& series, const std::string& name) {
  constexpr double kKeep = 0.95;
  Series out{name};
  double sum = 0, weight = 0;
  for (const auto& [x, y] : series.points) {
    sum = kKeep * sum + (1 - kKeep) * y;
    weight = kKeep * weight + (1 - kKeep);
    out.points.emplace_back(x, sum / weight);
  }
  return out;
}

void add(Series& series, double x, const Json& line, const char* key) {
  const auto found = line.find(key);
  if (found != line.end() && found->is_number()) series.points.emplace_back(x, found->get<double>());
}

void add_ratios(std::map<std::string, Series>& to, double x, const Json& line, const char* key, bool dots) {
  const auto found = line.find(key);
  if (found == line.end() || !found->is_object()) return;
  for (const auto& [ratio, value] : found->items()) {
    if (!value.is_number()) continue;
    Series& series = to[ratio];
    series.name = ratio == "none" ? "no memory" : "ratio " + ratio;
    series.dots = dots;
    series.points.emplace_back(x, value.get<double>());
  }
}

void add_line(Curves& curves, const Json& line) {
  if (const auto valid = line.find("valid_step"); valid != line.end() && valid->is_number()) {
    add_ratios(curves.valid, valid->get<double>(), line, "nll_per_ratio", true);
    return;
  }
  const auto step = line.find("step");
  if (step == line.end() || !step->is_number()) return;
  const auto x = step->get<double>();
  ++curves.updates;
  add(curves.loss, x, line, "loss");
  add(curves.next_token, x, line, "next_token");
  add(curves.distillation, x, line, "distillation");
  add(curves.rate, x, line, "lr");
  add(curves.norm, x, line, "grad_norm");
  add(curves.speed, x, line, "tok_s");
  add(curves.mfu, x, line, "mfu");
  add_ratios(curves.by_ratio, x, line, "loss_per_ratio", false);
  curves.tokens = line.value("tokens", curves.tokens);
  curves.seconds = line.value("seconds", curves.seconds);
}

Curves read_curves(const std::string& text, const std::string& what) {
  Curves curves;
  size_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == text.npos) break;  // cut by a kill
    ++number;
    add_line(curves, parse_json_object(text.substr(begin, end - begin), fmt::format("{}:{}", what, number)));
    begin = end + 1;
  }
  return curves;
}

// By number, so that ratio 16 comes after ratio 8.
std::vector<Series> ordered(const std::map<std::string, Series>& named) {
  std::map<int64_t, Series> by_number;
  for (const auto& [name, series] : named) by_number[name == "none" ? -1 : std::atoll(name.c_str())] = series;
  std::vector<Series> out;
  for (auto& [number, series] : by_number) out.push_back(std::move(series));
  return out;
}

}  // namespace

std::string run_to_html(const std::filesystem::path& log, const std::string& title) {
  const Curves c = read_curves(read_text(log), log.string());
  std::vector<Series> ratios;
  for (const Series& series : ordered(c.by_ratio)) ratios.push_back(smoothed(series, series.name));
  const Chart charts[] = {
      {"Loss",
       "nats a token, smoothed",
       {c.loss, smoothed(c.loss, "loss"), smoothed(c.next_token, "next token"),
        smoothed(c.distillation, "distillation")}},
      {"Validation", "nats a token read over memory", ordered(c.valid)},
      {"Next-token loss by ratio of the youngest window", "nats a token, smoothed", ratios},
      {"Gradient norm", "before clipping", {c.norm}, true},
      {"Learning rate", "", {c.rate}},
      {"Speed", "tokens a second", {c.speed}},
      {"Model flops utilisation", "share of the measured product rate", {c.mfu}}};
  std::ostringstream html;
  html << "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" << title
       << "</title><style>" << kStyle << "</style></head><body>\n<h1>" << title << "</h1>\n<p>"
       << fmt::format("{} updates, {:.3g} tokens, {:.1f} hours", c.updates, c.tokens, c.seconds / 3600)
       << "</p>\n";
  for (const Chart& chart : charts) html << to_svg(chart);
  html << "</body></html>\n";
  return html.str();
}

std::filesystem::path plot_run(const std::filesystem::path& run) {
  const std::filesystem::path folder = run.has_filename() ? run : run.parent_path();
  std::string title = folder.filename().string();
  std::erase_if(title, [](char c) { return c == '<' || c == '>' || c == '&'; });
  const std::filesystem::path page = run / "plot.html";
  write_text(page, run_to_html(run / "log.jsonl", title));
  return page;
}

}  // namespace beacon
