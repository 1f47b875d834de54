#include "train/run_log.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace beacon {

RunLog::RunLog(std::filesystem::path path, int64_t keep_bytes) : path_(std::move(path)), bytes_(keep_bytes) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  require(fd_ >= 0, ErrorCode::kIo, "cannot open {}: {}", path_.string(), std::strerror(errno));
  const int64_t size = ::lseek(fd_, 0, SEEK_END);
  if (size < keep_bytes || ::ftruncate(fd_, keep_bytes) != 0 || ::lseek(fd_, keep_bytes, SEEK_SET) < 0) {
    ::close(fd_);
    fail(ErrorCode::kBadFile, "{}: expected at least {} bytes, which the checkpoint counts on, found {}",
         path_.string(), keep_bytes, size);
  }
}

RunLog::~RunLog() { ::close(fd_); }

void RunLog::write(const std::string& json_line) {
  const std::string line = json_line + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t n = ::write(fd_, line.data() + done, line.size() - done);
    if (n < 0 && errno == EINTR) continue;
    require(n > 0, ErrorCode::kIo, "cannot write {}: {}", path_.string(), std::strerror(errno));
    done += static_cast<size_t>(n);
  }
  bytes_ += static_cast<int64_t>(line.size());
}

int64_t peak_memory_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<int64_t>(usage.ru_maxrss) * 1024;
}

}  // namespace beacon
