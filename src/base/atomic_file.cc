#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace beacon {
namespace {

[[noreturn]] void io_error(const std::filesystem::path& path, const char* what) {
  fail(ErrorCode::kIo, "cannot {} {}: {}", what, path.string(), std::strerror(errno));
}

std::filesystem::path folder_of(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

// The file a link leads to, which may not exist yet; a rename over the link itself would replace the link.
std::filesystem::path follow_links(const std::filesystem::path& path) {
  constexpr int kMostLinks = 40;  // as many as the system follows
  std::filesystem::path file = path;
  for (int links = 0;; ++links) {
    std::error_code no_link;
    const std::filesystem::path next = std::filesystem::read_symlink(file, no_link);
    if (no_link) return file;
    require(links < kMostLinks, ErrorCode::kIo, "cannot write {}: its links lead in a circle", path.string());
    file = folder_of(file) / next;
  }
}

// The rename is durable only once the folder that holds the name is on disk.
void sync_folder(const std::filesystem::path& file) {
  const int fd = ::open(folder_of(file).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

void require_writable(const std::filesystem::path& target) {
  require(!target.empty(), ErrorCode::kIo, "cannot write: expected the name of a file, found nothing");
  const std::filesystem::path file = follow_links(target);
  struct stat info {};
  if (::stat(file.c_str(), &info) == 0) {
    require(S_ISREG(info.st_mode), ErrorCode::kIo, "cannot write {}: expected a file or a new name, found {}",
            target.string(), S_ISDIR(info.st_mode) ? "a folder" : "a device or a pipe");
  } else if (errno != ENOENT) {
    io_error(target, "write");
  }
  // What counts is the folder: the new file is made beside the old one.
  if (::access(folder_of(file).c_str(), W_OK | X_OK) != 0) {
    const int reason = errno;
    fail(ErrorCode::kIo, "cannot write {}: its folder {}: {}", target.string(), folder_of(file).string(),
         std::strerror(reason));
  }
}

AtomicFile::AtomicFile(const std::filesystem::path& target) {
  require_writable(target);
  target_ = follow_links(target);
  for (int attempt = 0; fd_ < 0; ++attempt) {
    temporary_ = target_;
    temporary_ += fmt::format(".{}.{}.tmp", ::getpid(), attempt);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd_ < 0 && errno != EEXIST) io_error(temporary_, "create");
  }
  struct stat old {};
  if (::stat(target_.c_str(), &old) == 0) ::fchmod(fd_, old.st_mode & 0777);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  BEACON_CHECK(fd_ >= 0);
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      io_error(temporary_, "write");
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
    size_ += static_cast<uint64_t>(n);
  }
}

void AtomicFile::commit() {
  BEACON_CHECK(fd_ >= 0);
  if (::fsync(fd_) != 0) io_error(temporary_, "sync");
  if (::close(std::exchange(fd_, -1)) != 0) {
    ::unlink(temporary_.c_str());
    io_error(temporary_, "close");
  }
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary_.c_str());
    errno = reason;
    io_error(target_, "replace");
  }
  sync_folder(target_);
}

}  // namespace beacon
