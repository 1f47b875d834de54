#pragma once
// A SentencePiece model as plain values: read from a .model file or from a GGUF vocabulary, checked, and
// written as the bytes that libsentencepiece reads. The library aborts or reads out of bounds on some hostile
// files, so it is only ever given bytes that we wrote from checked values.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

// Numbers of the file format.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct SentencePiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

struct SentencePieceModel {
  enum class Kind : uint8_t { kUnigram = 1, kBpe = 2 };

  std::vector<SentencePiece> pieces;
  Kind kind = Kind::kUnigram;
  bool byte_fallback = false;
  bool whitespace_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  std::string charsmap;  // the compiled normalization rules; empty: none
  std::string bos_piece = "<s>";
  std::string eos_piece = "</s>";
  std::string unk_surface = " \xE2\x81\x87 ";

  int32_t unk_id() const;
  // Ids of the byte pieces <0x00> to <0xFF>; nothing without byte fallback.
  std::optional<std::array<int32_t, 256>> byte_ids() const;
};

// The mark that stands for a space in pieces (U+2581).
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// The byte that a piece such as <0x0A> names; nothing when it is not exactly of that form.
std::optional<uint8_t> byte_of_piece(std::string_view piece);

// Reads the protobuf of a .model file. Throws kBadFile or kUnsupported; the result has been checked.
SentencePieceModel parse_sentencepiece_model(std::span<const std::byte> bytes, const std::string& what);

// Throws kBadFile naming the first thing that is wrong: an empty, repeated or ill-formed piece, a score that
// is not a number, no or several unknown pieces, a malformed or missing byte piece, normalization rules that
// point outside of themselves.
void check_sentencepiece_model(const SentencePieceModel& model, const std::string& what);

// The protobuf of a checked model.
std::string serialize_sentencepiece_model(const SentencePieceModel& model);

}  // namespace beacon
