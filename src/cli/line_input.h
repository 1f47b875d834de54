#pragma once
// Lines of standard input, with an ear for Ctrl-C.
#include <string>

#include "cli/interrupt.h"

namespace beacon::cli {

// Reads file descriptor 0 with a buffer of its own; nobody else may read it meanwhile.
class LineInput {
 public:
  explicit LineInput(const InterruptGuard& interrupt) : interrupt_(interrupt) {}

  // The next line without its end ("\n" or "\r\n"; the last one may have none). False at the end of input, or
  // when Ctrl-C was pressed, be it long before the call. Throws Error(kIo) when the system refuses to read.
  bool next(std::string& line);

 private:
  bool fill();

  const InterruptGuard& interrupt_;
  std::string buffer_;
  bool ended_ = false;
};

}  // namespace beacon::cli
