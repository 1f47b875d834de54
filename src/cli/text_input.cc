#include "cli/text_input.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "base/check.h"
#include "base/log.h"
#include "tokenizer/utf8.h"

namespace beacon::cli {
namespace {

std::string read_stream(std::FILE* stream, const std::string& name) {
  std::string text;
  char buffer[1 << 16];
  while (const size_t n = std::fread(buffer, 1, sizeof buffer, stream)) text.append(buffer, n);
  if (std::ferror(stream)) {
    const int reason = errno;
    require(reason != EINTR, ErrorCode::kCancelled, "stopped while reading {}", name);
    fail(ErrorCode::kIo, "cannot read {}: {}", name, std::strerror(reason));
  }
  return text;
}

// Bytes of 0 are those of a picture, a PDF or UTF-16, which would be read for minutes as nonsense.
void check_is_text(const std::string& text, const std::string& name) {
  require(!text.empty(), ErrorCode::kInvalidArgument, "expected text in {}, found nothing; leave it out",
          name);
  const size_t zero = text.find('\0');
  require(zero == std::string::npos, ErrorCode::kBadFile,
          "expected UTF-8 text in {}, found a byte of 0 after {} bytes; convert it to text first", name,
          zero);
  if (!is_valid_utf8(text))
    log_warning(fmt::format("not all of {} is UTF-8 text; what is not is read as U+FFFD", name));
}

}  // namespace

std::string read_text(const std::string& path) {
  if (path == "-") return read_stream(stdin, "standard input");
  require(!std::filesystem::is_directory(path), ErrorCode::kBadFile,
          "expected a text file, found the folder '{}'; name a file in it", path);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) {
    const int reason = errno;
    fail(reason == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "cannot open '{}': {}", path,
         std::strerror(reason));
  }
  return read_stream(file.get(), "'" + path + "'");
}

std::string read_contexts(const std::vector<std::string>& paths) {
  require(std::count(paths.begin(), paths.end(), "-") <= 1, ErrorCode::kInvalidArgument,
          "expected standard input ('-') once, found it several times; it can be read only once");
  std::string text;
  for (const auto& path : paths) {
    const std::string part = read_text(path);
    check_is_text(part, path == "-" ? "standard input" : "'" + path + "'");
    if (!text.empty()) text += "\n\n";
    text += part;
  }
  return text;
}

std::string read_prompt(const std::string& prompt, const std::string& prompt_file) {
  if (!prompt_file.empty()) return read_text(prompt_file);
  return prompt == "-" ? read_text("-") : prompt;
}

}  // namespace beacon::cli
