#pragma once
// Ctrl-C as a flag that callbacks look at, so that a command ends in an orderly way and can still save.

namespace beacon::cli {

// While one lives, the first Ctrl-C only sets the flag and a second one ends the process. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const;
  // Forgets a Ctrl-C that was dealt with, and catches the next one again.
  void rearm();
};

}  // namespace beacon::cli
