#include "tokenizer/sentencepiece_model.h"

#include <cmath>
#include <cstring>

#include "base/check.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocabulary.h"

namespace beacon {
namespace {

constexpr size_t kMaxPieces = 4'000'000;
constexpr size_t kMaxPieceBytes = 4096;

// The double array of the rules (darts-clone): a trie whose walk is index ^= offset ^ byte. Every step from
// every unit must stay inside, and every value must point at a string that ends inside `normalized`.
void check_charsmap(std::string_view charsmap, const std::string& what) {
  if (charsmap.empty()) return;
  const auto require_map = [&](bool condition, std::string_view found) {
    require(condition, ErrorCode::kBadFile, "{}: expected sound normalization rules, found {}", what, found);
  };
  uint32_t trie_bytes = 0;
  require_map(charsmap.size() > sizeof(trie_bytes), "rules of 4 bytes or less");
  std::memcpy(&trie_bytes, charsmap.data(), sizeof(trie_bytes));
  require_map(trie_bytes < charsmap.size() - sizeof(trie_bytes), "a trie that is longer than the rules");
  // Blocks of 256 units: then i ^ byte stays in the block of i.
  require_map(trie_bytes >= 1024 && trie_bytes % 1024 == 0, "a trie that is not whole blocks");
  const std::string_view trie = charsmap.substr(sizeof(trie_bytes), trie_bytes);
  const std::string_view normalized = charsmap.substr(sizeof(trie_bytes) + trie_bytes);
  require_map(normalized.back() == '\0', "replacements that do not end");
  require_map(is_valid_utf8(normalized), "replacements that are not UTF-8");
  const size_t units = trie_bytes / 4;
  for (size_t i = 0; i < units; ++i) {
    uint32_t unit = 0;
    std::memcpy(&unit, trie.data() + i * 4, 4);
    if (unit >> 31) {
      require_map((unit & 0x7FFFFFFFu) < normalized.size(), "a replacement outside of the rules");
      continue;
    }
    const uint64_t offset = uint64_t{unit >> 10} << ((unit & (1u << 9)) >> 6);
    require_map((i ^ offset) < units, "a branch out of the trie");
    if (((unit >> 8) & 1) == 0) continue;  // no string ends here
    uint32_t leaf = 0;
    std::memcpy(&leaf, trie.data() + (i ^ offset) * 4, 4);
    require_map((leaf & 0x7FFFFFFFu) < normalized.size(), "a replacement outside of the rules");
  }
}

}  // namespace

std::optional<uint8_t> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : piece.substr(3, 2)) {
    if (c >= '0' && c <= '9')
      value = value * 16 + static_cast<unsigned>(c - '0');
    else if (c >= 'A' && c <= 'F')
      value = value * 16 + static_cast<unsigned>(c - 'A' + 10);
    else
      return std::nullopt;
  }
  return static_cast<uint8_t>(value);
}

int32_t SentencePieceModel::unk_id() const {
  for (size_t id = 0; id < pieces.size(); ++id)
    if (pieces[id].type == PieceType::kUnknown) return static_cast<int32_t>(id);
  return -1;
}

std::optional<std::array<int32_t, 256>> SentencePieceModel::byte_ids() const {
  if (!byte_fallback) return std::nullopt;
  std::array<int32_t, 256> ids;
  ids.fill(-1);
  for (size_t id = 0; id < pieces.size(); ++id)
    if (pieces[id].type == PieceType::kByte)
      if (const auto byte = byte_of_piece(pieces[id].text)) ids[*byte] = static_cast<int32_t>(id);
  return ids;
}

void check_sentencepiece_model(const SentencePieceModel& model, const std::string& what) {
  require(!model.pieces.empty(), ErrorCode::kBadFile, "{}: expected a vocabulary, found no pieces", what);
  require(model.pieces.size() <= kMaxPieces, ErrorCode::kBadFile, "{}: expected at most {} pieces, found {}",
          what, kMaxPieces, model.pieces.size());
  StringTable seen;
  seen.reserve(model.pieces.size());
  size_t unknown = 0;
  size_t bytes = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    const std::string shown = piece.text.substr(0, 40);
    require(!piece.text.empty() && piece.text.size() <= kMaxPieceBytes, ErrorCode::kBadFile,
            "{}: expected pieces of 1 to {} bytes, found {} bytes in piece {}", what, kMaxPieceBytes,
            piece.text.size(), id);
    require(is_valid_utf8(piece.text) && piece.text.find('\0') == std::string::npos, ErrorCode::kBadFile,
            "{}: expected pieces in UTF-8 without NUL, found other bytes in piece {}", what, id);
    require(seen.insert(piece.text, static_cast<int32_t>(id)), ErrorCode::kBadFile,
            "{}: expected different pieces, found '{}' twice", what, shown);
    require(std::isfinite(piece.score), ErrorCode::kBadFile, "{}: expected a finite score of piece {} ('{}')",
            what, id, shown);
    unknown += piece.type == PieceType::kUnknown;
    if (piece.type != PieceType::kByte) continue;
    ++bytes;
    require(byte_of_piece(piece.text).has_value(), ErrorCode::kBadFile,
            "{}: expected byte tokens <0x00> to <0xFF>, found '{}'", what, shown);
  }
  require(unknown == 1, ErrorCode::kBadFile, "{}: expected one unknown piece, found {}", what, unknown);
  require(bytes == (model.byte_fallback ? 256u : 0u), ErrorCode::kBadFile,
          "{}: expected {} byte tokens, found {}", what, model.byte_fallback ? 256 : 0, bytes);
  require(is_valid_utf8(model.unk_surface), ErrorCode::kBadFile, "{}: expected unk_surface in UTF-8", what);
  check_charsmap(model.charsmap, what);
}

}  // namespace beacon
