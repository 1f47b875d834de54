#pragma once
// The hash of every token a memory has read, which can go on after a load.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace beacon {

// A chain, because the inner state of a streamed XXH3 cannot be stored: h starts as 16 zero bytes, and each
// token makes it XXH3-128(h, token as 4 little-endian bytes), in the canonical (big-endian) byte order of
// XXH128. So the value is the same however the tokens were fed, and itself is the whole state. About 10 ns a
// token. Not thread-safe.
class SourceHash {
 public:
  SourceHash() = default;

  // Goes on from hex(); throws kBadFile unless it is 32 lower-case hex digits.
  explicit SourceHash(std::string_view hex);

  void update(std::span<const int32_t> tokens);
  std::string hex() const;

 private:
  std::array<std::byte, 16> hash_{};
};

}  // namespace beacon
