#pragma once
// How far a training run has come: the last update, and time left.
#include <chrono>
#include <string>

#include "cli/progress_bar.h"
#include "train/run.h"

namespace beacon::cli {

// On a terminal one line that is drawn over and over; with kAlways elsewhere a line for every update.
// Validations and remarks are lines of their own and are always shown. No escape codes.
class TrainProgress {
 public:
  explicit TrainProgress(ProgressMode mode);
  ~TrainProgress();
  TrainProgress(const TrainProgress&) = delete;
  TrainProgress& operator=(const TrainProgress&) = delete;

  void step(const StepRecord& record);
  void valid(const ValidRecord& record);
  void remark(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;
  void erase();

  bool terminal_;
  bool enabled_;
  Clock::time_point start_;
  int64_t first_step_ = -1;
  size_t drawn_width_ = 0;
};

}  // namespace beacon::cli
