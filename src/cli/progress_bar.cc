#include "cli/progress_bar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/terminal.h"

namespace beacon::cli {
namespace {

constexpr int kBarWidth = 24;
constexpr auto kRedrawInterval = std::chrono::milliseconds(100);

std::string duration(double seconds) {
  const auto whole = int64_t{std::lround(seconds)};
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

}  // namespace

ProgressBar::ProgressBar(std::string label, ProgressMode mode, std::string unit)
    : label_(std::move(label)),
      unit_(std::move(unit)),
      terminal_(stderr_is_terminal()),
      enabled_(mode == ProgressMode::kAlways || (mode == ProgressMode::kAuto && terminal_)),
      start_(Clock::now()) {}

ProgressBar::~ProgressBar() {
  if (drawn_width_ > 0) std::fprintf(stderr, "\r%*s\r", static_cast<int>(drawn_width_), "");
}

std::string ProgressBar::line(const Progress& progress) const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rate = elapsed > 0 ? static_cast<double>(progress.tokens_done) / elapsed : 0;
  const int64_t left = progress.tokens_total - progress.tokens_done;
  const std::string time_left = rate > 0 ? duration(static_cast<double>(left) / rate) : "?";
  const int64_t total = std::max<int64_t>(progress.tokens_total, 1);
  const auto filled = static_cast<size_t>(kBarWidth * progress.tokens_done / total);
  const std::string bar = std::string(filled, '#') + std::string(kBarWidth - filled, '.');
  return fmt::format("{} [{}] {:3}%  {}/{} {}  {:.{}f} {}/s  {} left", label_, bar,
                     100 * progress.tokens_done / total, progress.tokens_done, progress.tokens_total, unit_,
                     rate, rate < 10 ? 2 : 0, unit_, time_left);
}

void ProgressBar::draw(const Progress& progress) {
  const std::string text = line(progress);
  if (!terminal_) return note(text);
  const size_t width = std::max(drawn_width_, text.size());
  std::fprintf(stderr, "\r%-*s", static_cast<int>(width), text.c_str());
  std::fflush(stderr);
  drawn_width_ = text.size();
}

void ProgressBar::update(const Progress& progress) {
  if (!enabled_) return;
  const auto now = Clock::now();
  const int64_t tenth = 10 * progress.tokens_done / std::max<int64_t>(progress.tokens_total, 1);
  const bool due = terminal_ ? now - last_drawn_ >= kRedrawInterval : tenth > last_tenth_;
  if (!due) return;
  last_drawn_ = now;
  last_tenth_ = tenth;
  draw(progress);
}

ProgressCallback ProgressBar::callback(const InterruptGuard& interrupt) {
  return [this, &interrupt](const Progress& progress) {
    update(progress);
    return !interrupt.requested();
  };
}

}  // namespace beacon::cli
