#include "cli/line_input.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace beacon::cli {

bool LineInput::next(std::string& line) {
  size_t end = 0;
  while ((end = buffer_.find('\n', end)) == std::string::npos && !ended_) {
    end = buffer_.size();
    if (!fill()) return false;
  }
  if (interrupt_.requested() || (end == std::string::npos && buffer_.empty())) return false;
  line = buffer_.substr(0, end);
  buffer_.erase(0, end == std::string::npos ? end : end + 1);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  return true;
}

// Adds what can be read; false when Ctrl-C was pressed.
bool LineInput::fill() {
  // A signal may come between any look at its flag and the call that waits: the pipe remembers it.
  pollfd sources[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_.wake_fd(), POLLIN, 0}};
  while (poll(sources, 2, -1) < 0) {
    require(errno == EINTR, ErrorCode::kIo, "cannot wait for standard input: {}", std::strerror(errno));
  }
  if (interrupt_.requested()) return false;
  char piece[1 << 16];
  const ssize_t length = read(STDIN_FILENO, piece, sizeof piece);
  if (length < 0 && errno == EINTR) return true;
  require(length >= 0, ErrorCode::kIo, "cannot read standard input: {}", std::strerror(errno));
  ended_ = length == 0;
  buffer_.append(piece, static_cast<size_t>(length));
  return true;
}

}  // namespace beacon::cli
