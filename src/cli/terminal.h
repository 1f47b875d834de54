#pragma once
// Standard output and standard error: results go to the first, everything else to the second.
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace beacon::cli {

// Standard output was closed by its reader (`beacon ... | head -1`): nothing is wrong and nothing is to be
// said.
struct ClosedPipe {};

// Writes to standard output and flushes. Throws ClosedPipe, or Error(kIo) when the system refuses.
void print(std::string_view text);
// One JSON value on one line; bytes that are not UTF-8 become U+FFFD.
void print_json(const nlohmann::ordered_json& value);
// One line on standard error.
void note(std::string_view line);

bool stderr_is_terminal();
bool stdin_is_terminal();
// True when standard error is a terminal, NO_COLOR is not set and TERM is not "dumb".
bool stderr_has_colour();
// The text in grey where standard error has colours, else as it is.
std::string dim(std::string_view text);

// "1.5 MiB", "90.0 KiB", "12 B".
std::string human_bytes(double bytes);

}  // namespace beacon::cli
