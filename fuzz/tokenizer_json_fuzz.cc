// tokenizer.json from bytes, then a text through what was read: nothing but Error may come out. The input is
// the file, and after a byte 0xFF, which no JSON holds, the text.
#include <beacon/error.h>
#include <beacon/tokenizer.h>

#include <cstdlib>
#include <string_view>

#include "tokenizer/tokenizer_json.h"
#include "tokenizer/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t border = input.find('\xFF');
  const std::string_view text =
      border == std::string_view::npos ? "a b\n12 \xC3\xA9" : input.substr(border + 1);
  try {
    const beacon::Tokenizer tokenizer(beacon::parse_tokenizer_json(input.substr(0, border), "fuzz"));
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(text, {true, special});
      if (!beacon::is_valid_utf8(tokenizer.decode(ids))) std::abort();
    }
  } catch (const beacon::Error&) {
  }
  return 0;
}
