#pragma once
// Small text files of a model folder; internal to io.
#include <filesystem>
#include <string>
#include <string_view>

namespace beacon {

// The whole file as text. Throws kNotFound, kBadFile (a folder, empty) or kIo.
std::string read_text(const std::filesystem::path& path);
// Atomically.
void write_text(const std::filesystem::path& path, std::string_view text);
// A name from a file's contents, used as a path within a folder: throws kBadFile unless it is a plain file
// name.
void check_plain_name(const std::string& name, const std::string& what);

}  // namespace beacon
