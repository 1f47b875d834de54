#include "cli/stream_printer.h"

#include <algorithm>

#include "cli/terminal.h"

namespace beacon::cli {

void StreamPrinter::write(std::string_view text) {
  if (!print_text_ || error_) return;
  try {
    print(text);
  } catch (...) {
    error_ = std::current_exception();
  }
}

TokenCallback StreamPrinter::callback() {
  return [this](const GeneratedToken& token) {
    write(token.text);
    printed_ += token.text.size();
    return !error_ && !interrupt_.requested();
  };
}

void StreamPrinter::finish(std::string_view answer) {
  write(answer.substr(std::min(printed_, answer.size())));
  write("\n");
}

void StreamPrinter::rethrow() const {
  if (error_) std::rethrow_exception(error_);
}

}  // namespace beacon::cli
