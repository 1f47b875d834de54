#include <xxhash.h>

#include <array>
#include <memory>
#include <utility>

#include "base/atomic_file.h"
#include "base/check.h"
#include "memory/memory_file.h"
#include "memory/memory_layout.h"

namespace beacon {
namespace {

using Bytes = std::span<const std::byte>;

uint64_t hash_pieces(const std::vector<Bytes>& pieces) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  BEACON_CHECK(state != nullptr);
  XXH3_64bits_reset(state.get());
  for (const auto& piece : pieces) XXH3_64bits_update(state.get(), piece.data(), piece.size());
  return XXH3_64bits_digest(state.get());
}

std::vector<std::byte> join(const std::vector<Bytes>& pieces) {
  std::vector<std::byte> all;
  for (const auto& piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
  return all;
}

// The length of the manifest depends on the digits of the offsets in it, and they on its length: laid out
// again until the length stays. Padding to 64 makes that two or three rounds; the length never shrinks, so it
// ends.
std::string lay_out(const MemoryManifest& manifest, std::vector<MemoryBlockEntry>& entries) {
  uint64_t manifest_bytes = 0;
  for (;;) {
    uint64_t end = kMemoryHeaderBytes + manifest_bytes;
    for (auto& e : entries) {
      e.offset = align_memory_offset(end);
      end = e.offset + e.bytes;
    }
    auto text = manifest_to_json(manifest, entries);
    if (text.size() <= manifest_bytes) {
      // Blanks are white space to JSON: they keep a length that one round reached and the next no longer
      // needs.
      text.append(manifest_bytes - text.size(), ' ');
      return text;
    }
    manifest_bytes = text.size();
  }
}

}  // namespace

void MemoryFileWriter::add_block(std::string name, DType dtype, std::vector<int64_t> shape,
                                 std::vector<Bytes> pieces) {
  uint64_t given = 0;
  for (const auto& piece : pieces) given += piece.size();
  require(is_memory_dtype(dtype) && dense_bytes(dtype, shape) == given, ErrorCode::kInvalidArgument,
          "block '{}': {} [{}] does not take the {} bytes given", name, dtype_info(dtype).name,
          fmt::join(shape, ", "), given);
  blocks_.push_back({{std::move(name), dtype, std::move(shape), 0, given, 0}, std::move(pieces)});
}

void MemoryFileWriter::write(const MemoryManifest& manifest, const std::function<void(Bytes)>& sink) const {
  std::vector<MemoryBlockEntry> entries;
  std::array<std::vector<std::byte>, 3> index;
  constexpr std::array kIndexNames{memory_block::kSpans, memory_block::kTokens, memory_block::kRatios};
  for (const auto& b : blocks_) {
    entries.push_back(b.entry);
    entries.back().xxh3 = hash_pieces(b.pieces);
    for (size_t i = 0; i < index.size(); ++i)
      if (b.entry.name == kIndexNames[i]) index[i] = join(b.pieces);
  }
  try {
    check_memory_shapes(manifest, entries);
    check_memory_index(manifest, {index[0], index[1], index[2]});
  } catch (const Error& e) {
    fail(ErrorCode::kInvalidArgument, "this memory cannot be written: {}", e.what());
  }
  const std::string text = lay_out(manifest, entries);
  const Bytes text_bytes = std::as_bytes(std::span(text));

  uint64_t at = kMemoryHeaderBytes + text.size();
  const uint64_t file_bytes = entries.empty() ? at : entries.back().offset + entries.back().bytes;
  const auto header = encode_memory_header({file_bytes, text.size(), xxh3_of(text_bytes)});
  sink(header);
  sink(text_bytes);
  static constexpr std::array<std::byte, kMemoryAlignment> kZeros{};
  for (size_t i = 0; i < blocks_.size(); ++i) {
    sink(Bytes(kZeros).first(entries[i].offset - at));
    for (const auto& piece : blocks_[i].pieces) sink(piece);
    at = entries[i].offset + entries[i].bytes;
  }
}

void MemoryFileWriter::write_file(const std::filesystem::path& path, const MemoryManifest& manifest) const {
  AtomicFile file(path);
  write(manifest, [&file](Bytes bytes) { file.write(bytes); });
  file.commit();
}

}  // namespace beacon
