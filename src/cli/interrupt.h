#pragma once
// Ctrl-C as a flag that callbacks look at, so that a command ends in an orderly way and can still save.

namespace beacon::cli {

// While one lives, the first Ctrl-C only sets the flag and a second one ends the process. One at a time.
// Throws Error(kIo) when the system has no pipe left.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const;
  // A file descriptor that becomes readable when Ctrl-C is pressed, for poll() beside other input.
  int wake_fd() const { return wake_[0]; }
  // Forgets a Ctrl-C that was dealt with, and catches the next one again.
  void rearm();

 private:
  int wake_[2] = {-1, -1};  // a pipe: reading end, writing end
};

}  // namespace beacon::cli
