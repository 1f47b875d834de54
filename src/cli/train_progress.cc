#include "cli/train_progress.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>

#include "cli/terminal.h"

namespace beacon::cli {
namespace {

std::string duration(double seconds) {
  const auto minutes = int64_t{std::lround(seconds / 60)};
  if (minutes < 60) return fmt::format("{} min", minutes);
  return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
}

std::string ratio_name(int ratio) { return ratio < 0 ? "no memory" : fmt::format("ratio {}", ratio); }

}  // namespace

TrainProgress::TrainProgress(ProgressMode mode)
    : terminal_(stderr_is_terminal()),
      enabled_(mode == ProgressMode::kAlways || (mode == ProgressMode::kAuto && terminal_)),
      start_(Clock::now()) {}

TrainProgress::~TrainProgress() { erase(); }

void TrainProgress::erase() {
  if (drawn_width_ > 0) std::fprintf(stderr, "\r%*s\r", static_cast<int>(drawn_width_), "");
  drawn_width_ = 0;
}

void TrainProgress::step(const StepRecord& r) {
  if (first_step_ < 0) first_step_ = r.step - 1;
  if (!enabled_) return;
  const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
  const double left =
      elapsed / static_cast<double>(r.step - first_step_) * static_cast<double>(r.steps - r.step);
  const std::string text = fmt::format(
      "step {}/{}  loss {:.4f}  next token {:.4f}  norm {:.3g}  lr {:.2e}  {:.0f} tokens/s  mfu {:.0f}%  {} "
      "left",
      r.step, r.steps, r.loss, r.next_token, r.grad_norm, r.learning_rate, r.tokens_per_s, 100 * r.mfu,
      duration(left));
  if (!terminal_) return note(text);
  erase();
  std::fprintf(stderr, "\r%s", text.c_str());
  std::fflush(stderr);
  drawn_width_ = text.size();
}

void TrainProgress::valid(const ValidRecord& r) {
  std::string text = fmt::format("validation after step {}: {:.4f} nats", r.step, r.nll);
  for (const auto& [ratio, nll] : r.by_ratio) text += fmt::format("  {}: {:.4f}", ratio_name(ratio), nll);
  remark(text + (r.improved ? "  (best so far, adapter written)" : ""));
}

void TrainProgress::remark(const std::string& text) {
  erase();
  note(text);
}

}  // namespace beacon::cli
