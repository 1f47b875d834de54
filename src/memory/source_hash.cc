#include "memory/source_hash.h"

#include <xxhash.h>

#include <cstring>

#include "base/check.h"

namespace beacon {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

SourceHash::SourceHash(std::string_view hex) {
  bool valid = hex.size() == 2 * hash_.size();
  for (size_t i = 0; valid && i < hash_.size(); ++i) {
    const int high = hex_digit(hex[2 * i]);
    const int low = hex_digit(hex[2 * i + 1]);
    valid = high >= 0 && low >= 0;
    hash_[i] = static_cast<std::byte>(high * 16 + low);
  }
  require(valid, ErrorCode::kBadFile, "a source hash is 32 lower-case hex digits, found {} characters",
          hex.size());
}

void SourceHash::update(std::span<const int32_t> tokens) {
  std::array<std::byte, 20> link{};
  for (const int32_t token : tokens) {
    std::memcpy(link.data(), hash_.data(), hash_.size());
    for (size_t i = 0; i < 4; ++i)
      link[16 + i] = static_cast<std::byte>(static_cast<uint32_t>(token) >> (8 * i) & 0xFFU);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(link.data(), link.size()));
    std::memcpy(hash_.data(), canonical.digest, hash_.size());
  }
}

std::string SourceHash::hex() const {
  std::string text;
  for (const std::byte b : hash_) text += fmt::format("{:02x}", std::to_integer<unsigned>(b));
  return text;
}

}  // namespace beacon
