#include "cli/interrupt.h"

#include <atomic>
#include <csignal>

namespace beacon::cli {
namespace {

// A signal handler can reach nothing but a global.
std::atomic<bool> interrupt_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void on_interrupt(int) { interrupt_requested.store(true, std::memory_order_relaxed); }

void install() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  // Without SA_RESTART a read from the terminal returns; with SA_RESETHAND the second Ctrl-C kills.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupt_requested.store(false);
  install();
}

InterruptGuard::~InterruptGuard() { std::signal(SIGINT, SIG_DFL); }

bool InterruptGuard::requested() const { return interrupt_requested.load(std::memory_order_relaxed); }

void InterruptGuard::rearm() {
  interrupt_requested.store(false);
  install();
}

}  // namespace beacon::cli
