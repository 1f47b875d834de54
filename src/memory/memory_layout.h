#pragma once
// The rules of memory files that the reader and the writer share.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "memory/memory_manifest.h"

namespace beacon {

inline constexpr uint64_t kMemoryHeaderBytes = 64;
inline constexpr uint64_t kMemoryAlignment = 64;

// The numbers of the fixed header that are not constant.
struct MemoryHeader {
  uint64_t file_bytes = 0;
  uint64_t manifest_bytes = 0;
  uint64_t manifest_xxh3 = 0;
};

std::array<std::byte, kMemoryHeaderBytes> encode_memory_header(const MemoryHeader& header);

// Throws kBadFile or kUnsupported. bytes is the whole file.
MemoryHeader decode_memory_header(std::span<const std::byte> bytes);

// value rounded up to a multiple of kMemoryAlignment; values come from checked sizes below 2^63.
constexpr uint64_t align_memory_offset(uint64_t value) {
  return (value + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment;
}

// Bytes of the three small blocks whose contents are checked.
struct MemoryIndexBytes {
  std::span<const std::byte> spans;   // I64 pairs
  std::span<const std::byte> tokens;  // I32
  std::span<const std::byte> ratios;  // I32
};

// Names are unique, and every block that the manifest asks for is there with the right dtype and shape; the
// counts of the manifest agree. Throws kBadFile. Blocks with other names are allowed.
void check_memory_shapes(const MemoryManifest& manifest, const std::vector<MemoryBlockEntry>& blocks);

// Source spans never run backwards and stay inside tokens_read; tokens and ratios are not negative. Throws
// kBadFile.
void check_memory_index(const MemoryManifest& manifest, const MemoryIndexBytes& bytes);

uint64_t xxh3_of(std::span<const std::byte> bytes);

}  // namespace beacon
