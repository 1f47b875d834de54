#pragma once
// How far a feed has come: tokens, tokens per second, time left.
#include <beacon/session.h>

#include <chrono>
#include <string>

#include "cli/interrupt.h"

namespace beacon::cli {

enum class ProgressMode { kAuto, kAlways, kNever };

// On a terminal one line that is drawn over and over; with kAlways elsewhere a plain line for every tenth of
// the way. No escape codes.
class ProgressBar {
 public:
  // `unit` is what is counted.
  ProgressBar(std::string label, ProgressMode mode, std::string unit = "tokens");
  // Erases the line.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(const Progress& progress);
  // Draws and asks to go on unless Ctrl-C was pressed. Both must outlive the callback.
  ProgressCallback callback(const InterruptGuard& interrupt);

 private:
  using Clock = std::chrono::steady_clock;
  std::string line(const Progress& progress) const;
  void draw(const Progress& progress);

  std::string label_;
  std::string unit_;
  bool terminal_ = false;
  bool enabled_ = false;
  Clock::time_point start_;
  Clock::time_point last_drawn_;
  int64_t last_tenth_ = -1;
  size_t drawn_width_ = 0;
};

}  // namespace beacon::cli
