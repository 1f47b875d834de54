#pragma once
// Text from files and standard input.
#include <string>
#include <vector>

namespace beacon::cli {

// The whole of a file, or of standard input when the path is "-". Throws kNotFound, kBadFile (a folder) or
// kIo.
std::string read_text(const std::string& path);

// The texts of several files one after another, an empty line between them. Throws kInvalidArgument when a
// file holds nothing, or when standard input is named more than once, and kBadFile for one that holds bytes
// of 0; warns of one that is not UTF-8.
std::string read_contexts(const std::vector<std::string>& paths);

// A prompt given as text, as "-" for standard input, or by the name of its file; at most one of the two is
// set.
std::string read_prompt(const std::string& prompt, const std::string& prompt_file);

}  // namespace beacon::cli
