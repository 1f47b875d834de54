#pragma once
// An answer as it grows.
#include <beacon/session.h>

#include <exception>

#include "cli/interrupt.h"

namespace beacon::cli {

// Prints tokens to standard output as they come, if wanted, and asks to stop at Ctrl-C or when nobody reads
// any more. The error of a failed write is kept for rethrow(), so that what is in memory can be saved first.
class StreamPrinter {
 public:
  StreamPrinter(const InterruptGuard& interrupt, bool print_text)
      : interrupt_(interrupt), print_text_(print_text) {}

  TokenCallback callback();
  // Prints what the tokens held back of the whole answer (the beginning of a stop string that never came),
  // and ends the line.
  void finish(std::string_view answer);
  void rethrow() const;

 private:
  void write(std::string_view text);

  const InterruptGuard& interrupt_;
  bool print_text_;
  size_t printed_ = 0;  // bytes of the answer
  std::exception_ptr error_;
};

}  // namespace beacon::cli
