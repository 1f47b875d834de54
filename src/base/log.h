#pragma once
// Warnings of the library go to one sink that the program may replace; the default drops them.
#include <functional>
#include <string>

namespace beacon {

using LogSink = std::function<void(const std::string& line)>;

// Replaces the sink; thread-safe. An empty sink drops lines.
void set_log_sink(LogSink sink);

// Hands one line to the sink: a setting of the user that is skipped, a fall-back that was taken.
void log_warning(const std::string& line);

}  // namespace beacon
