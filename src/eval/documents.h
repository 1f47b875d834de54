#pragma once
// The texts an evaluation reads.
#include <filesystem>
#include <string>
#include <vector>

namespace beacon::eval {

struct Document {
  std::string name;  // of its file; with the line behind a colon for JSONL
  std::string text;
};

// A file is one text, but a .jsonl file holds one in "text" of every line. A folder stands for its .txt and
// .jsonl files in the order of their names; what lies deeper is not read. Throws kNotFound, kIo, or kBadFile
// for a broken line, an empty file and a folder without such files.
std::vector<Document> load_documents(const std::filesystem::path& path);

}  // namespace beacon::eval
