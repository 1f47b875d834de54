#pragma once
// The log of a run: one JSON object a line, and peak memory.
#include <cstdint>
#include <filesystem>
#include <string>

namespace beacon {

// Appends to a file; belongs to one thread. Lines reach the file one by one, so a killed run loses none but
// perhaps the last.
class RunLog {
 public:
  // Opens or makes the file and cuts it after `keep_bytes`: what came later belongs to steps that a resumed
  // run does again. Throws kIo, and kBadFile when the file is shorter than that.
  RunLog(std::filesystem::path path, int64_t keep_bytes);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  void write(const std::string& json_line);
  int64_t bytes() const { return bytes_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  int64_t bytes_ = 0;
};

// The most memory this process has held so far.
int64_t peak_memory_bytes();

}  // namespace beacon
