#include "base/log.h"

#include <mutex>
#include <utility>

namespace beacon {
namespace {

struct Sink {
  std::mutex mutex;
  LogSink write;
};

Sink& sink() {
  static Sink instance;
  return instance;
}

}  // namespace

void set_log_sink(LogSink write) {
  std::lock_guard lock(sink().mutex);
  sink().write = std::move(write);
}

void log_warning(const std::string& line) {
  std::lock_guard lock(sink().mutex);
  if (sink().write) sink().write(line);
}

}  // namespace beacon
