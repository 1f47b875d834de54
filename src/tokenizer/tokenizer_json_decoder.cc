// Decoders of a tokenizer.json, worked out for each token in advance.
#include "base/check.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/tokenizer_json.h"

namespace beacon {
namespace {

constexpr int kMaxDepth = 8;
constexpr size_t kMaxDecodedBytes = size_t{1} << 28;

// Hugging Face's reader takes both cases of hexadecimal digits.
std::optional<uint8_t> byte_token(std::string text) {
  if (text.size() != 6) return std::nullopt;
  for (size_t i = 3; i < 5; ++i)
    if (text[i] >= 'a' && text[i] <= 'f') text[i] = static_cast<char>(text[i] - 'a' + 'A');
  return byte_of_piece(text);
}

// Applies one decoder after the other to the table.
class DecoderReader {
 public:
  DecoderReader(const std::string& where, const Vocabulary& vocabulary) : where_(where) {
    table_.entries.resize(static_cast<size_t>(vocabulary.size()));
    for (int32_t id = 0; id < vocabulary.size(); ++id) {
      auto& entry = table_.entries[static_cast<size_t>(id)];
      entry.text = vocabulary.text(id);
      if (!entry.text.empty()) entry.kind = DecodeTable::Kind::kText;
    }
  }

  void apply(const Json& json, int depth) {
    require(depth <= kMaxDepth, ErrorCode::kUnsupported, "{}: sequences nested deeper than {}", where_,
            kMaxDepth);
    const JsonFields fields(json, where_);
    const std::string type = fields.string("type");
    if (type == "Sequence") {
      for (const Json& entry : fields.array("decoders")) apply(entry, depth + 1);
      return;
    }
    require(!table_.raw_bytes, ErrorCode::kUnsupported, "{}: expected nothing after ByteLevel, found '{}'",
            where_, type);
    if (type == "ByteLevel") {
      byte_level();
    } else if (type == "Replace") {
      replace(fields);
    } else if (type == "ByteFallback") {
      byte_fallback();
    } else if (type == "Fuse") {
      fused_ = true;
    } else if (type == "Strip") {
      strip(fields);
    } else if (type == "Metaspace") {
      metaspace(fields);
    } else {
      fail(ErrorCode::kUnsupported,
           "{}: expected one of the decoders ByteLevel, Replace, ByteFallback, Fuse, Strip, Metaspace, "
           "Sequence, "
           "found '{}'",
           where_, type.substr(0, 60));
    }
  }

  DecodeTable take() { return std::move(table_); }

 private:
  template <typename Function>
  void for_each_text(std::string_view type, Function function) {
    require(!fused_, ErrorCode::kUnsupported, "{}: expected only Strip after Fuse, found {}", where_, type);
    size_t bytes = 0;
    for (auto& entry : table_.entries) {
      if (entry.kind == DecodeTable::Kind::kText) function(entry.text);
      bytes += entry.text.size();
      require(bytes < kMaxDecodedBytes, ErrorCode::kBadFile,
              "{}: the decoder makes texts of more than {} bytes", where_, kMaxDecodedBytes);
    }
  }

  void byte_level() {
    for_each_text("ByteLevel", [](std::string& text) {
      if (auto bytes = bytes_of_token(text)) text = std::move(*bytes);
    });
    table_.raw_bytes = true;
  }

  void replace_all(std::string_view what, std::string_view with) {
    for_each_text("Replace", [&](std::string& text) {
      std::string out;
      size_t done = 0;
      for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, done)) {
        out.append(text, done, at - done).append(with);
        done = at + what.size();
      }
      if (done > 0) text = out.append(text, done);
    });
  }

  void replace(const JsonFields& fields) {
    const JsonFields pattern = fields.object("pattern");
    require(pattern.find("String") != nullptr, ErrorCode::kUnsupported,
            "{}: expected a Replace decoder with a String pattern, found another kind", where_);
    const std::string what = pattern.string("String");
    require(!what.empty(), ErrorCode::kBadFile, "{}: expected a Replace with a pattern, found an empty one",
            where_);
    replace_all(what, fields.string("content"));
  }

  void byte_fallback() {
    for (auto& entry : table_.entries) {
      if (entry.kind != DecodeTable::Kind::kText) continue;
      const auto byte = byte_token(entry.text);
      if (!byte) continue;
      entry.text = std::string(1, static_cast<char>(*byte));
      entry.kind = DecodeTable::Kind::kByte;
    }
  }

  void strip(const JsonFields& fields) {
    const std::string content = fields.string("content");
    const int64_t start = fields.integer("start");
    const int64_t stop = fields.integer("stop");
    require(content.size() == 1 && start >= 0 && stop >= 0, ErrorCode::kUnsupported,
            "{}: expected a Strip of one ASCII character, found '{}'", where_, content.substr(0, 20));
    if (fused_) {
      require(stop == 0 && table_.strip_count == 0, ErrorCode::kUnsupported,
              "{}: expected one Strip at the start of the text, found one at its end or a second one",
              where_);
      table_.strip = content[0];
      table_.strip_count = static_cast<size_t>(start);
      return;
    }
    for_each_text("Strip", [&](std::string& text) {
      size_t begin = 0;
      while (begin < text.size() && begin < static_cast<size_t>(start) && text[begin] == content[0]) ++begin;
      size_t end = text.size();
      while (end > begin && text.size() - end < static_cast<size_t>(stop) && text[end - 1] == content[0])
        --end;
      text = text.substr(begin, end - begin);
    });
  }

  void metaspace(const JsonFields& fields) {
    const std::string mark = fields.string("replacement", kSpaceMark);
    require(!mark.empty(), ErrorCode::kBadFile, "{}: expected a Metaspace replacement, found an empty one",
            where_);
    replace_all(mark, " ");
    table_.first_drops_spaces = fields.find("prepend_scheme") != nullptr
                                    ? fields.string("prepend_scheme") != "never"
                                    : fields.boolean("add_prefix_space", true);
  }

  std::string where_;
  DecodeTable table_;
  bool fused_ = false;
};

}  // namespace

DecodeTable parse_decoder(const Json* json, const std::string& where, const Vocabulary& vocabulary) {
  DecoderReader reader(where, vocabulary);
  if (json != nullptr) reader.apply(*json, 0);
  DecodeTable table = reader.take();
  if (json == nullptr) table.separator.push_back(' ');
  return table;
}

}  // namespace beacon
