#include "memory/memory_manifest.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace beacon {
namespace {

using Json = nlohmann::json;
using Limits = MemoryLimits;

constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();

// The parser itself is not recursive, but deep values cost memory out of proportion.
void check_depth(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      require(++depth <= Limits::kManifestDepth, ErrorCode::kBadFile,
              "manifest: nested deeper than {} levels", Limits::kManifestDepth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
}

// Checked access to the members of one JSON object.
class Fields {
 public:
  Fields(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    require(object_.is_object(), ErrorCode::kBadFile, "{}: an object was expected", where_);
  }

  const Json& get(const char* key) const {
    const auto it = object_.find(key);
    require(it != object_.end(), ErrorCode::kBadFile, "{}: no field '{}'", where_, key);
    return *it;
  }

  bool has(const char* key) const {
    const auto it = object_.find(key);
    return it != object_.end() && !it->is_null();
  }

  const std::string& text(const char* key, size_t min_bytes, size_t max_bytes) const {
    const Json& value = get(key);
    require(value.is_string(), ErrorCode::kBadFile, "{}: '{}' must be text", where_, key);
    const auto& s = value.get_ref<const std::string&>();
    require(s.size() >= min_bytes && s.size() <= max_bytes, ErrorCode::kBadFile,
            "{}: '{}' has {} bytes, expected {} to {}", where_, key, s.size(), min_bytes, max_bytes);
    return s;
  }

  int64_t integer(const char* key, int64_t min, int64_t max) const {
    return checked_integer(get(key), where_, key, min, max);
  }

  static int64_t checked_integer(const Json& value, const std::string& where, const char* key, int64_t min,
                                 int64_t max) {
    require(value.is_number_integer(), ErrorCode::kBadFile, "{}: '{}' must be an integer", where, key);
    const bool too_big =
        value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(kInt64Max);
    const int64_t n = too_big ? kInt64Max : value.get<int64_t>();
    require(!too_big && n >= min && n <= max, ErrorCode::kBadFile, "{}: '{}' is {}, expected {} to {}", where,
            key, value.dump(), min, max);
    return n;
  }

  const std::string& where() const { return where_; }

 private:
  const Json& object_;
  std::string where_;
};

// Text of the file inside a message of ours, which is one line and must not steer a terminal.
std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

DType dtype_from_name(const std::string& where, const std::string& name) {
  for (int i = 0; i <= static_cast<int>(DType::kF64); ++i) {
    const auto type = static_cast<DType>(i);
    if (is_memory_dtype(type) && dtype_info(type).name == name) return type;
  }
  fail(ErrorCode::kUnsupported, "{}: dtype '{}' is not one this program reads", where, printable(name));
}

bool is_lower_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_block_name(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
}

std::map<std::string, std::string> read_rope(const Json& value) {
  const Fields fields(value, "manifest: rope");
  require(value.size() <= Limits::kRopeEntries, ErrorCode::kBadFile,
          "manifest: rope has {} entries, expected up to {}", value.size(), Limits::kRopeEntries);
  std::map<std::string, std::string> rope;
  for (const auto& [key, unused] : value.items()) {
    require(key.size() <= Limits::kNameBytes, ErrorCode::kBadFile,
            "manifest: a rope key has {} bytes, expected up to {}", key.size(), Limits::kNameBytes);
    rope[key] = fields.text(key.c_str(), 0, Limits::kOptionsBytes);
  }
  return rope;
}

std::string read_options(const Json& value) {
  require(value.is_object(), ErrorCode::kBadFile, "manifest: 'window_options' must be an object");
  auto text = value.dump();
  require(text.size() <= Limits::kOptionsBytes, ErrorCode::kBadFile,
          "manifest: 'window_options' has {} bytes, expected up to {}", text.size(), Limits::kOptionsBytes);
  return text;
}

const char* keys_name(MemoryKeys keys) {
  switch (keys) {
    case MemoryKeys::kRotated:
      return "rotated";
    case MemoryKeys::kUnrotated:
      return "unrotated";
    case MemoryKeys::kSettled:
      return "settled";
  }
  return "?";
}

MemoryKeys read_keys(const Fields& f) {
  const auto& text = f.text("keys", 1, Limits::kNameBytes);
  for (const MemoryKeys keys : {MemoryKeys::kRotated, MemoryKeys::kUnrotated, MemoryKeys::kSettled}) {
    if (text == keys_name(keys)) return keys;
  }
  fail(ErrorCode::kUnsupported, "manifest: 'keys' is '{}', expected rotated, unrotated or settled",
       printable(text));
}

MemoryManifest read_manifest(const Json& json) {
  const Fields f(json, "manifest");
  MemoryManifest m;
  m.writer = f.text("writer", 1, Limits::kNameBytes);
  m.base = f.text("base", 1, Limits::kNameBytes);
  m.adapter = f.text("adapter", 0, Limits::kNameBytes);
  m.tokenizer = f.text("tokenizer", 1, Limits::kNameBytes);
  m.rope = read_rope(f.get("rope"));
  m.window_options = read_options(f.get("window_options"));
  m.layers = f.integer("layers", 1, Limits::kDimension);
  m.kv_heads = f.integer("kv_heads", 1, Limits::kDimension);
  m.head_dim = f.integer("head_dim", 1, Limits::kDimension);
  const int64_t batch = f.integer("batch", 1, kInt64Max);
  require(batch == 1, ErrorCode::kUnsupported, "manifest: a batch of {} rows; memory files hold one", batch);
  m.dtype = dtype_from_name("manifest", f.text("dtype", 1, Limits::kNameBytes));
  require(
      m.dtype == DType::kF32 || m.dtype == DType::kBF16 || m.dtype == DType::kF16 || m.dtype == DType::kQ8_0,
      ErrorCode::kUnsupported, "manifest: keys and values are {}, expected F32, BF16, F16 or Q8_0",
      dtype_info(m.dtype).name);
  require(m.head_dim % dtype_info(m.dtype).block_elements == 0, ErrorCode::kBadFile,
          "manifest: heads of {} numbers are not whole blocks of {}", m.head_dim, dtype_info(m.dtype).name);
  m.keys = read_keys(f);
  const Fields rows(f.get("rows"), "manifest: rows");
  m.sink_rows = rows.integer("sink", 0, Limits::kTokens);
  m.beacon_rows = rows.integer("beacon", 0, Limits::kTokens);
  m.raw_rows = rows.integer("raw", 0, Limits::kTokens);
  m.tokens_read = f.integer("tokens_read", 0, Limits::kTokens);
  m.source_hash = f.text("source_hash", 32, 32);
  require(is_lower_hex(m.source_hash), ErrorCode::kBadFile,
          "manifest: 'source_hash' must be 32 lower-case hex digits");
  if (f.has("pending_token"))
    m.pending_token =
        static_cast<int32_t>(f.integer("pending_token", 0, std::numeric_limits<int32_t>::max()));
  m.title = f.text("title", 0, Limits::kTitleBytes);
  m.description = f.text("description", 0, Limits::kDescriptionBytes);
  return m;
}

uint64_t read_hash(const Fields& f) {
  const auto& text = f.text("xxh3", 16, 16);
  require(is_lower_hex(text), ErrorCode::kBadFile, "{}: 'xxh3' must be 16 lower-case hex digits", f.where());
  uint64_t hash = 0;
  std::from_chars(text.data(), text.data() + text.size(), hash, 16);
  return hash;
}

// Size from dtype and shape; the stored byte count must say the same.
void check_block_size(const MemoryBlockEntry& b) {
  require(dense_bytes(b.dtype, b.shape) == b.bytes, ErrorCode::kBadFile,
          "block '{}': {} [{}] does not take the {} bytes it claims", b.name, dtype_info(b.dtype).name,
          fmt::join(b.shape, ", "), b.bytes);
}

MemoryBlockEntry read_block(const Json& json) {
  const Fields unnamed(json, "manifest: blocks");
  MemoryBlockEntry b;
  b.name = unnamed.text("name", 1, Limits::kNameBytes);
  require(is_block_name(b.name), ErrorCode::kBadFile,
          "manifest: a block name may hold only letters, digits and . _ -");
  const Fields f(json, fmt::format("block '{}'", b.name));
  b.dtype = dtype_from_name(f.where(), f.text("dtype", 1, Limits::kNameBytes));
  const Json& shape = f.get("shape");
  require(shape.is_array() && shape.size() <= Limits::kRank, ErrorCode::kBadFile,
          "{}: 'shape' must be a list of up to {} integers", f.where(), Limits::kRank);
  for (const auto& d : shape) b.shape.push_back(Fields::checked_integer(d, f.where(), "shape", 0, kInt64Max));
  b.offset = static_cast<uint64_t>(f.integer("offset", 0, kInt64Max));
  b.bytes = static_cast<uint64_t>(f.integer("bytes", 0, kInt64Max));
  b.xxh3 = read_hash(f);
  check_block_size(b);
  return b;
}

Json block_to_json(const MemoryBlockEntry& b) {
  return {{"name", b.name},   {"dtype", dtype_info(b.dtype).name},
          {"shape", b.shape}, {"offset", b.offset},
          {"bytes", b.bytes}, {"xxh3", fmt::format("{:016x}", b.xxh3)}};
}

Json manifest_fields(const MemoryManifest& m) {
  check_depth(m.window_options);
  Json json{
      {"writer", m.writer},
      {"base", m.base},
      {"adapter", m.adapter},
      {"tokenizer", m.tokenizer},
      {"rope", m.rope},
      {"window_options", Json::parse(m.window_options)},
      {"layers", m.layers},
      {"kv_heads", m.kv_heads},
      {"head_dim", m.head_dim},
      {"batch", 1},
      {"dtype", dtype_info(m.dtype).name},
      {"keys", keys_name(m.keys)},
      {"rows", {{"sink", m.sink_rows}, {"beacon", m.beacon_rows}, {"raw", m.raw_rows}}},
      {"tokens_read", m.tokens_read},
      {"source_hash", m.source_hash},
      {"title", m.title},
      {"description", m.description},
  };
  if (m.pending_token) json["pending_token"] = *m.pending_token;
  return json;
}

}  // namespace

std::optional<uint64_t> dense_bytes(DType dtype, const std::vector<int64_t>& shape) {
  const auto info = dtype_info(dtype);
  auto bytes = std::optional(static_cast<uint64_t>(info.block_bytes));
  for (size_t i = 0; i < shape.size(); ++i) {
    const bool blocks = i + 1 == shape.size() && info.block_elements > 1;
    if (shape[i] < 0 || (blocks && shape[i] % info.block_elements != 0)) return std::nullopt;
    bytes =
        bytes ? checked_mul(*bytes, static_cast<uint64_t>(blocks ? shape[i] / info.block_elements : shape[i]))
              : std::nullopt;
  }
  return shape.empty() && info.block_elements > 1 ? std::nullopt : bytes;
}

std::string manifest_to_json(const MemoryManifest& manifest, const std::vector<MemoryBlockEntry>& blocks) {
  std::string text;
  try {
    Json json = manifest_fields(manifest);
    Json& list = json["blocks"] = Json::array();
    for (const auto& b : blocks) list.push_back(block_to_json(b));
    text = json.dump();
    manifest_from_json(text);
  } catch (const Json::exception& e) {
    fail(ErrorCode::kInvalidArgument, "this memory cannot be written: {}", e.what());
  } catch (const Error& e) {
    fail(ErrorCode::kInvalidArgument, "this memory cannot be written: {}", e.what());
  }
  return text;
}

ParsedManifest manifest_from_json(std::string_view text) {
  require(text.size() <= Limits::kManifestBytes, ErrorCode::kBadFile, "manifest: {} bytes, expected up to {}",
          text.size(), Limits::kManifestBytes);
  check_depth(text);
  const Json json = Json::parse(text, nullptr, false);
  require(!json.is_discarded(), ErrorCode::kBadFile, "manifest: not valid JSON");
  ParsedManifest parsed{read_manifest(json), {}};
  const Json& blocks = Fields(json, "manifest").get("blocks");
  require(blocks.is_array() && blocks.size() <= Limits::kBlocks, ErrorCode::kBadFile,
          "manifest: 'blocks' must be a list of up to {} entries", Limits::kBlocks);
  parsed.blocks.reserve(blocks.size());
  for (const auto& b : blocks) parsed.blocks.push_back(read_block(b));
  return parsed;
}

}  // namespace beacon
