#include "memory/memory_layout.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <unordered_map>

#include "base/check.h"
#include "memory/memory_file.h"

namespace beacon {
namespace {

static_assert(std::endian::native == std::endian::little,
              "memory files are mapped as they are: little-endian only");

constexpr std::string_view kMagic = "BEACONMM";

// Places in the header; docs/memory_format.md has the same table.
constexpr size_t kAtVersion = 8;
constexpr size_t kAtFlags = 12;
constexpr size_t kAtFileBytes = 16;
constexpr size_t kAtManifestOffset = 24;
constexpr size_t kAtManifestBytes = 32;
constexpr size_t kAtManifestHash = 40;
constexpr size_t kAtReserved = 48;
constexpr size_t kAtHeaderHash = 56;

template <typename T>
T load(std::span<const std::byte> bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

template <typename T>
void store(std::span<std::byte> bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

std::string name_of(int64_t layer, const char* part) { return fmt::format("layer.{}.{}", layer, part); }

// Looks blocks up by name and says what is wrong with them.
class BlockTable {
 public:
  explicit BlockTable(const std::vector<MemoryBlockEntry>& blocks) {
    by_name_.reserve(blocks.size());
    for (const auto& b : blocks)
      require(by_name_.emplace(b.name, &b).second, ErrorCode::kBadFile, "block '{}' appears twice", b.name);
  }

  const MemoryBlockEntry* find(std::string_view name) const {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : it->second;
  }

  const MemoryBlockEntry& get(std::string_view name) const {
    const auto* b = find(name);
    require(b != nullptr, ErrorCode::kBadFile, "block '{}' is missing", name);
    return *b;
  }

  void expect(std::string_view name, DType dtype, const std::vector<int64_t>& shape) const {
    const auto& b = get(name);
    require(b.dtype == dtype && b.shape == shape, ErrorCode::kBadFile,
            "block '{}' is {} [{}], the manifest asks for {} [{}]", name, dtype_info(b.dtype).name,
            fmt::join(b.shape, ", "), dtype_info(dtype).name, fmt::join(shape, ", "));
  }

  // A list of any length up to max_items.
  int64_t expect_list(std::string_view name, DType dtype, int64_t max_items) const {
    const auto& b = get(name);
    require(b.dtype == dtype && b.shape.size() == 1, ErrorCode::kBadFile,
            "block '{}' is {} [{}], a list of {} was expected", name, dtype_info(b.dtype).name,
            fmt::join(b.shape, ", "), dtype_info(dtype).name);
    require(b.shape[0] <= max_items, ErrorCode::kBadFile, "block '{}' has {} entries, expected up to {}",
            name, b.shape[0], max_items);
    return b.shape[0];
  }

 private:
  std::unordered_map<std::string_view, const MemoryBlockEntry*> by_name_;
};

void check_layer(const MemoryManifest& m, const BlockTable& table, int64_t layer) {
  const std::vector<int64_t> shape{m.kv_heads, m.rows(), m.head_dim};
  table.expect(memory_block::keys(layer), m.dtype, shape);
  table.expect(memory_block::values(layer), m.dtype, shape);
  const auto before_rope = memory_block::keys_before_rope(layer);
  if (m.keys != MemoryKeys::kRotated) {
    require(table.find(before_rope) == nullptr, ErrorCode::kBadFile,
            "block '{}' is only expected when keys are rotated again at the next close", before_rope);
    return;
  }
  const bool full = table.get(before_rope).dtype == DType::kF32;
  table.expect(before_rope, full ? DType::kF32 : m.dtype, {m.kv_heads, m.raw_rows, m.head_dim});
}

void check_not_negative(std::span<const std::byte> bytes, std::string_view what) {
  for (size_t at = 0; at + sizeof(int32_t) <= bytes.size(); at += sizeof(int32_t)) {
    const auto value = load<int32_t>(bytes, at);
    require(value >= 0, ErrorCode::kBadFile, "block '{}': entry {} is {}, expected 0 or more", what,
            at / sizeof(int32_t), value);
  }
}

}  // namespace

namespace memory_block {
std::string keys(int64_t layer) { return name_of(layer, "k"); }
std::string values(int64_t layer) { return name_of(layer, "v"); }
std::string keys_before_rope(int64_t layer) { return name_of(layer, "k_pre"); }
}  // namespace memory_block

uint64_t xxh3_of(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::array<std::byte, kMemoryHeaderBytes> encode_memory_header(const MemoryHeader& header) {
  std::array<std::byte, kMemoryHeaderBytes> bytes{};
  std::memcpy(bytes.data(), kMagic.data(), kMagic.size());
  store<uint32_t>(bytes, kAtVersion, kMemoryFormatVersion);
  store<uint32_t>(bytes, kAtFlags, 0);
  store<uint64_t>(bytes, kAtFileBytes, header.file_bytes);
  store<uint64_t>(bytes, kAtManifestOffset, kMemoryHeaderBytes);
  store<uint64_t>(bytes, kAtManifestBytes, header.manifest_bytes);
  store<uint64_t>(bytes, kAtManifestHash, header.manifest_xxh3);
  store<uint64_t>(bytes, kAtReserved, 0);
  store<uint64_t>(bytes, kAtHeaderHash, xxh3_of(std::span(bytes).first(kAtHeaderHash)));
  return bytes;
}

MemoryHeader decode_memory_header(std::span<const std::byte> bytes) {
  constexpr auto kBad = ErrorCode::kBadFile;
  require(bytes.size() >= kMagic.size() && std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0, kBad,
          "not a memory file: it does not begin with {}", kMagic);
  require(bytes.size() >= kMemoryHeaderBytes, kBad, "truncated: {} bytes, the header alone has {}",
          bytes.size(), kMemoryHeaderBytes);
  const auto version = load<uint32_t>(bytes, kAtVersion);
  require(version != 0, kBad, "format version 0 does not exist");
  require(version <= kMemoryFormatVersion, ErrorCode::kUnsupported,
          "written by a newer version {}, this program reads up to {}", version, kMemoryFormatVersion);
  require(load<uint64_t>(bytes, kAtHeaderHash) == xxh3_of(bytes.first(kAtHeaderHash)), kBad,
          "the header's checksum does not match: the file is corrupted");
  const auto flags = load<uint32_t>(bytes, kAtFlags);
  require(flags == 0, ErrorCode::kUnsupported, "flags {:#x} are unknown to this program", flags);
  require(load<uint64_t>(bytes, kAtReserved) == 0, ErrorCode::kUnsupported,
          "a reserved header field is not zero");

  MemoryHeader header;
  header.file_bytes = load<uint64_t>(bytes, kAtFileBytes);
  header.manifest_bytes = load<uint64_t>(bytes, kAtManifestBytes);
  header.manifest_xxh3 = load<uint64_t>(bytes, kAtManifestHash);
  require(header.file_bytes >= bytes.size(), kBad, "{} bytes follow the end of the memory",
          bytes.size() - header.file_bytes);
  require(header.file_bytes == bytes.size(), kBad, "truncated: {} bytes of {}", bytes.size(),
          header.file_bytes);
  require(load<uint64_t>(bytes, kAtManifestOffset) == kMemoryHeaderBytes, kBad,
          "the manifest must begin at byte {}", kMemoryHeaderBytes);
  const uint64_t most = std::min<uint64_t>(MemoryLimits::kManifestBytes, bytes.size() - kMemoryHeaderBytes);
  require(header.manifest_bytes <= most, kBad, "a manifest of {} bytes, at most {} are possible",
          header.manifest_bytes, most);
  return header;
}

void check_memory_shapes(const MemoryManifest& m, const std::vector<MemoryBlockEntry>& blocks) {
  constexpr auto kBad = ErrorCode::kBadFile;
  const BlockTable table(blocks);
  require(m.sink_rows <= m.tokens_read && m.beacon_rows <= m.tokens_read, kBad,
          "{} sink and {} beacon rows cannot come from {} tokens", m.sink_rows, m.beacon_rows, m.tokens_read);
  table.expect(memory_block::kSpans, DType::kI64, {m.beacon_rows, 2});
  const int64_t tokens = table.expect_list(memory_block::kTokens, DType::kI32, m.tokens_read);
  // Each beacon of the open window follows a raw token of its own.
  require(m.raw_rows >= tokens && m.raw_rows <= 2 * tokens, kBad,
          "{} raw rows do not fit {} tokens in the open window (expected {} to {})", m.raw_rows, tokens,
          tokens, 2 * tokens);
  table.expect_list(memory_block::kRatios, DType::kI32, m.tokens_read + 1);
  table.expect_list(memory_block::kPlanner, DType::kU8, 1 << 20);
  if (table.find(memory_block::kSampler) != nullptr)
    table.expect_list(memory_block::kSampler, DType::kU8, 1 << 20);
  for (int64_t layer = 0; layer < m.layers; ++layer) check_layer(m, table, layer);
  const auto extra = memory_block::keys(m.layers);
  require(table.find(extra) == nullptr, kBad, "block '{}' is one layer more than the {} of the manifest",
          extra, m.layers);
}

void check_memory_index(const MemoryManifest& m, const MemoryIndexBytes& bytes) {
  int64_t last_end = 0;
  for (size_t at = 0; at + 16 <= bytes.spans.size(); at += 16) {
    const auto begin = load<int64_t>(bytes.spans, at);
    const auto end = load<int64_t>(bytes.spans, at + 8);
    require(begin >= 0 && end >= last_end && begin < end && end <= m.tokens_read, ErrorCode::kBadFile,
            "beacon {} claims tokens {} to {}: the ends must be ascending and inside the {} tokens read",
            at / 16, begin, end, m.tokens_read);
    last_end = end;
  }
  check_not_negative(bytes.tokens, memory_block::kTokens);
  check_not_negative(bytes.ratios, memory_block::kRatios);
}

}  // namespace beacon
