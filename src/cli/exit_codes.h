#pragma once
// What the program returns to the shell.

namespace beacon::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;  // a run-time failure: files, capacity, a case out of tolerance
inline constexpr int kExitUsage = 2;    // an unknown option, a value out of range, options that contradict
inline constexpr int kExitInterrupted = 130;  // Ctrl-C, as shells count it (128 + SIGINT)
inline constexpr int kExitClosedPipe = 141;   // nobody reads standard output any more (128 + SIGPIPE)

}  // namespace beacon::cli
