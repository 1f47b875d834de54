#include "memory/memory_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/mapped_file.h"
#include "memory/memory_layout.h"

namespace beacon {
namespace {

using Bytes = std::span<const std::byte>;

// Blocks follow one another in the order of the list, each at the next multiple of 64, zeros between them,
// nothing after the last: so no block can overlap another and no byte of the file is free.
void check_places(const std::vector<MemoryBlockEntry>& entries, uint64_t manifest_end, uint64_t file_bytes) {
  uint64_t end = manifest_end;
  for (const auto& e : entries) {
    const uint64_t expected = align_memory_offset(end);
    require(e.offset == expected, ErrorCode::kBadFile, "block '{}' begins at byte {}, expected {}", e.name,
            e.offset, expected);
    require(e.offset <= file_bytes && e.bytes <= file_bytes - e.offset, ErrorCode::kBadFile,
            "block '{}' ends after the file's {} bytes", e.name, file_bytes);
    end = e.offset + e.bytes;
  }
  require(end == file_bytes, ErrorCode::kBadFile, "the blocks end at byte {}, the file at {}", end,
          file_bytes);
}

void check_padding(Bytes file, uint64_t from, const MemoryBlockEntry& next) {
  const auto gap = file.subspan(from, next.offset - from);
  require(std::all_of(gap.begin(), gap.end(), [](std::byte b) { return b == std::byte{0}; }),
          ErrorCode::kBadFile, "the padding before block '{}' is not zero: the file is corrupted", next.name);
}

template <typename T>
std::vector<T> copy_integers(const TensorView& block) {
  std::vector<T> values(block.bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), block.bytes.data(), values.size() * sizeof(T));
  return values;
}

}  // namespace

MemoryFile::MemoryFile() = default;
MemoryFile::~MemoryFile() = default;

std::shared_ptr<const MemoryFile> MemoryFile::parse(std::span<const std::byte> bytes, MemoryVerify verify) {
  const MemoryHeader header = decode_memory_header(bytes);
  const auto text = bytes.subspan(kMemoryHeaderBytes, header.manifest_bytes);
  require(xxh3_of(text) == header.manifest_xxh3, ErrorCode::kBadFile,
          "the manifest's checksum does not match: the file is corrupted");
  auto parsed = manifest_from_json({reinterpret_cast<const char*>(text.data()), text.size()});
  check_places(parsed.blocks, kMemoryHeaderBytes + text.size(), bytes.size());
  check_memory_shapes(parsed.manifest, parsed.blocks);

  std::shared_ptr<MemoryFile> file(new MemoryFile);
  file->file_bytes_ = bytes.size();
  file->manifest_ = std::move(parsed.manifest);
  file->blocks_.reserve(parsed.blocks.size());
  uint64_t end = kMemoryHeaderBytes + text.size();
  for (auto& e : parsed.blocks) {
    check_padding(bytes, end, e);
    const auto data = bytes.subspan(e.offset, e.bytes);
    require(verify == MemoryVerify::kStructure || xxh3_of(data) == e.xxh3, ErrorCode::kBadFile,
            "the checksum of block '{}' does not match: the file is corrupted", e.name);
    end = e.offset + e.bytes;
    file->blocks_.push_back({std::move(e.name), e.dtype, std::move(e.shape), data});
    file->index_[file->blocks_.back().name] = file->blocks_.size() - 1;
  }
  check_memory_index(file->manifest_,
                     {file->block(memory_block::kSpans).bytes, file->block(memory_block::kTokens).bytes,
                      file->block(memory_block::kRatios).bytes});
  return file;
}

std::shared_ptr<const MemoryFile> MemoryFile::open(const std::filesystem::path& path, MemoryVerify verify) {
  auto mapping = MappedFile::open(path);
  try {
    auto file = std::const_pointer_cast<MemoryFile>(parse(mapping->bytes(), verify));
    file->mapping_ = std::move(mapping);
    file->mapping_->let_go(file->mapping_->bytes());  // checksums have read all of it
    return file;
  } catch (const Error& e) {
    fail(e.code(), "{}: {}", path.string(), e.what());
  }
}

const TensorView* MemoryFile::find_block(std::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &blocks_[it->second];
}

const TensorView& MemoryFile::block(std::string_view name) const {
  const auto* found = find_block(name);
  require(found != nullptr, ErrorCode::kNotFound, "the memory file has no block '{}'", name);
  return *found;
}

void MemoryFile::let_go(const TensorView& block) const {
  if (mapping_ != nullptr) mapping_->let_go(block.bytes);
}

std::vector<int64_t> MemoryFile::source_spans() const {
  return copy_integers<int64_t>(block(memory_block::kSpans));
}

std::vector<int32_t> MemoryFile::window_tokens() const {
  return copy_integers<int32_t>(block(memory_block::kTokens));
}

std::vector<int32_t> MemoryFile::window_ratios() const {
  return copy_integers<int32_t>(block(memory_block::kRatios));
}

}  // namespace beacon
