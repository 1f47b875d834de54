// Lines of JSON and the examples in them: what is accepted is whole, the rest is named, nothing else happens.
#include <beacon/error.h>

#include <cstdlib>
#include <string_view>

#include "io/json_lines.h"
#include "train/data/example.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace beacon;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  int64_t last = 0;
  for_each_json_line(text, [&](const JsonLine& line) {
    if (line.number <= last || (line.object == nullptr) == line.error.empty() || line.bytes_before >= size)
      std::abort();
    last = line.number;
    if (line.object == nullptr) return true;
    try {
      const train::Example example = train::parse_example(*line.object, "line");
      if (example.text.empty() && example.messages.empty() && example.output.empty()) std::abort();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kBadFile) std::abort();
    }
    return true;
  });
  return 0;
}
