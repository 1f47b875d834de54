#include "eval/documents.h"

#include <algorithm>

#include "base/check.h"
#include "base/mapped_file.h"
#include "io/json_lines.h"

namespace beacon::eval {
namespace {

namespace fs = std::filesystem;

void add_lines(const std::string& name, std::string_view text, std::vector<Document>& out) {
  for_each_json_line(text, [&](const JsonLine& line) {
    const std::string where = fmt::format("{}:{}", name, line.number);
    require(line.object != nullptr, ErrorCode::kBadFile, "{}: {}", where, line.error);
    const JsonReader reader(*line.object, where);
    auto content = reader.string("text");
    if (!content) reader.wrong("text", "a string");
    out.push_back({where, std::move(*content)});
    return true;
  });
}

void add_file(const fs::path& path, std::vector<Document>& out) {
  const auto file = MappedFile::open(path);
  const std::string_view text(reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size());
  const std::string name = path.filename().string();
  if (path.extension() == ".jsonl")
    add_lines(name, text, out);
  else
    out.push_back({name, std::string(text)});
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const fs::path extension = entry.path().extension();
    if (entry.is_regular_file() && (extension == ".txt" || extension == ".jsonl"))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::vector<Document> load_documents(const fs::path& path) {
  std::vector<Document> documents;
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    add_file(path, documents);
  } else {
    try {
      for (const fs::path& file : files_of(path)) add_file(file, documents);
    } catch (const fs::filesystem_error& error) {
      fail(ErrorCode::kIo, "cannot read the folder {}: {}", path.string(), error.code().message());
    }
  }
  require(!documents.empty(), ErrorCode::kBadFile,
          "{} holds no text; a text file, a .jsonl file, or a folder of .txt and .jsonl files was expected",
          path.string());
  return documents;
}

}  // namespace beacon::eval
