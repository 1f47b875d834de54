#pragma once
// Raising errors: fail() for what a user can cause, BEACON_CHECK for invariants that only a bug of ours can
// break.
#include <beacon/error.h>
#include <fmt/format.h>

#include <utility>

namespace beacon {

// Throws Error with a formatted one-line message.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// Throws unless the condition holds; the message is formatted only on failure.
template <typename... Args>
void require(bool condition, ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]]
    throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace beacon

#define BEACON_CHECK(condition)                                                                     \
  do {                                                                                              \
    if (!(condition)) [[unlikely]]                                                                  \
      ::beacon::fail(::beacon::ErrorCode::kInternal, "{}:{}: {} does not hold", __FILE__, __LINE__, \
                     #condition);                                                                   \
  } while (false)
