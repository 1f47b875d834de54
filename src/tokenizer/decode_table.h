#pragma once
// From ids back to text, one at a time.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

// What each token contributes to the text. Const after it is built, shared by threads.
struct DecodeTable {
  enum class Kind : uint8_t {
    kText,  // as it stands
    kByte,  // one byte (byte fallback)
    kSkip,  // nothing
  };
  struct Entry {
    std::string text;
    Kind kind = Kind::kSkip;
    bool special = false;
  };
  std::vector<Entry> entries;
  bool raw_bytes = false;           // texts are bytes that may begin or end within a character (byte-level)
  std::string separator;            // between tokens
  char strip = ' ';                 // this character is dropped at the start of the text,
  size_t strip_count = 0;           // at most so many times
  bool first_drops_spaces = false;  // the first token loses all its spaces (Metaspace)
};

// Running state of a decoding. Ill-formed bytes become U+FFFD: for byte-level vocabularies one for each
// maximal part, as in Hugging Face's tokenizers; for byte tokens one for each byte, as in SentencePiece.
class DecodeState {
 public:
  explicit DecodeState(const DecodeTable& table) : table_(&table), strip_left_(table.strip_count) {}

  // Appends what is complete. The id must be in the table.
  void push(int32_t id, bool skip_special, std::string& out);
  // Appends what is left and starts afresh.
  void finish(std::string& out);

 private:
  void emit(std::string_view text, std::string& out);
  void emit_pending(bool at_end, std::string& out);

  const DecodeTable* table_;
  size_t strip_left_;
  bool any_token_ = false;
  std::string pending_;
};

}  // namespace beacon
