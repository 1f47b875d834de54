#pragma once
// Writing a file so that the old one survives until the new one is complete.
#include <cstddef>
#include <filesystem>
#include <span>

namespace beacon {

// Throws kIo unless a file can be written at `target`: a new name in a folder that exists and lets us write,
// or a regular file. For those who are about to work long for what they will write there.
void require_writable(const std::filesystem::path& target);

// Writes beside the target, then commit() syncs and renames over it; a link stays, the file it names is
// replaced, with its permissions. Without commit() (an exception, a full disk) the target keeps its old
// contents and the destructor removes the temporary file; a killed process leaves NAME.PID.N.tmp behind,
// which nothing reads. Every failure throws kIo naming the file and the system's reason. One object is used
// by one thread; several objects may have the same target: the last commit stays.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& target);
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
