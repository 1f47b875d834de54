#include "cli/interrupt.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/check.h"

namespace beacon::cli {
namespace {

// A signal handler can reach nothing but globals.
std::atomic<bool> interrupt_requested{false};
std::atomic<int> wake_writer{-1};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

void on_interrupt(int) {
  const int saved = errno;
  interrupt_requested.store(true);
  // A full pipe is as good as one more byte in it.
  [[maybe_unused]] const ssize_t written = write(wake_writer.load(), "!", 1);
  errno = saved;
}

void install() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  // Without SA_RESTART a blocked read returns; with SA_RESETHAND the second Ctrl-C kills.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  require(pipe2(wake_, O_CLOEXEC | O_NONBLOCK) == 0, ErrorCode::kIo, "cannot make a pipe: {}",
          std::strerror(errno));
  wake_writer.store(wake_[1]);
  interrupt_requested.store(false);
  install();
}

InterruptGuard::~InterruptGuard() {
  std::signal(SIGINT, SIG_DFL);
  wake_writer.store(-1);
  close(wake_[0]);
  close(wake_[1]);
}

bool InterruptGuard::requested() const { return interrupt_requested.load(); }

void InterruptGuard::rearm() {
  char byte = 0;
  while (read(wake_[0], &byte, 1) > 0) {
  }
  interrupt_requested.store(false);
  install();
}

}  // namespace beacon::cli
