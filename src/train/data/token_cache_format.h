#pragma once
// Sizes of the file that token_cache.h describes; internal to its reader and writer.
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace beacon::train {

inline constexpr char kMagic[8] = {'B', 'T', 'C', '1', 'T', 'O', 'K', 'S'};
inline constexpr uint64_t kTrailerBytes = 64;
inline constexpr uint64_t kRunBytes = 8;
inline constexpr uint64_t kDocumentBytes = 32;

constexpr uint64_t aligned(uint64_t size) { return (size + 7) / 8 * 8; }

inline uint64_t hash_of(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

}  // namespace beacon::train
