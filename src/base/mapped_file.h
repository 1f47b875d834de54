#pragma once
// A read-only memory-mapped file.
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

namespace beacon {

// Maps a whole regular file for reading. Throws kNotFound, kBadFile (empty, a folder) or kIo. Pages are
// shared with the page cache; the mapping lives as long as the object, and views into it must not outlive it.
// Thread-safe after opening.
class MappedFile {
 public:
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::filesystem::path& path() const { return path_; }

  // Takes the whole pages of `part`, which lies in bytes(), out of this process's memory until they are read
  // again: for what has been read once and copied. Nothing is lost.
  void let_go(std::span<const std::byte> part) const;

 private:
  MappedFile() = default;
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace beacon
