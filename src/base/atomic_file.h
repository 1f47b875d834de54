#pragma once
// Writing a file so that the old one survives until the new one is complete.
#include <cstddef>
#include <filesystem>
#include <span>

namespace beacon {

// Writes beside the target, then commit() syncs and renames over it. Without commit() (an exception, a full
// disk, a killed process) the target keeps its old contents and the temporary file is removed by the
// destructor. Every failure throws kIo naming the file and the system's reason. Not thread-safe.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  uint64_t size() const { return size_; }
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  int fd_ = -1;
  uint64_t size_ = 0;
};

}  // namespace beacon
