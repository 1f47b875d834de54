#include "io/file_text.h"

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/mapped_file.h"

namespace beacon {

std::string read_text(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  return {reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()};
}

void write_text(const std::filesystem::path& path, std::string_view text) {
  AtomicFile out(path);
  out.write(std::as_bytes(std::span(text)));
  out.commit();
}

void check_plain_name(const std::string& name, const std::string& what) {
  require(!name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
              name.find('\0') == name.npos && name.size() <= 255,
          ErrorCode::kBadFile, "{}: expected a file name within the folder, found \"{}\"", what,
          name.substr(0, 60));
}

}  // namespace beacon
