// A SentencePiece .model from bytes, then a text through both encoders: nothing but Error may come out, and
// the two must agree. The input is one byte with the length of the text, the text, and the file.
#include <beacon/error.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tokenizer/load.h"
#include "tokenizer/utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t text_size = std::min<size_t>(data[0], size - 1);
  const std::string text = beacon::replace_invalid_utf8({reinterpret_cast<const char*>(data) + 1, text_size});
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data) + 1 + text_size,
                                        size - 1 - text_size);
  try {
    const auto model = beacon::parse_sentencepiece_model(file, "fuzz");
    const beacon::Tokenizer tokenizer(
        beacon::tokenizer_from_sentencepiece(model, beacon::DummyPrefix::kEverySection, {}, "fuzz"));
    const auto ids = tokenizer.encode(text, {false, false});
    if (!beacon::is_valid_utf8(tokenizer.decode(ids))) std::abort();
    if (!text.empty() && beacon::has_fast_encoder(model)) {
      const auto library = beacon::make_library_encoder(model, beacon::DummyPrefix::kEverySection);
      beacon::EncodeScratch scratch(text.size());
      std::vector<int32_t> expected;
      library->encode(text, true, scratch, expected);
      if (expected != ids) std::abort();
    }
  } catch (const beacon::Error&) {
  }
  return 0;
}
