// A tokenizer around a SentencePiece model.
#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "tokenizer/assemble.h"
#include "tokenizer/load.h"

namespace beacon {
namespace {

DecodeTable::Entry decode_entry(const SentencePiece& piece, const SentencePieceModel& model) {
  switch (piece.type) {
    case PieceType::kControl:
      return {piece.text, DecodeTable::Kind::kText, true};
    case PieceType::kUnknown:
      return {model.unk_surface, DecodeTable::Kind::kText, true};
    case PieceType::kByte:
      return {std::string(1, static_cast<char>(*byte_of_piece(piece.text))), DecodeTable::Kind::kByte, false};
    default:
      break;
  }
  std::string text;
  size_t done = 0;
  for (size_t at = piece.text.find(kSpaceMark); at != std::string::npos;
       at = piece.text.find(kSpaceMark, done)) {
    text.append(piece.text, done, at - done).append(" ");
    done = at + kSpaceMark.size();
  }
  text.append(piece.text, done);
  return {text, DecodeTable::Kind::kText, false};
}

std::string hash_pieces(const SentencePieceModel& model) {
  FingerprintHash hash;
  for (const SentencePiece& piece : model.pieces) {
    uint32_t bits = 0;
    static_assert(sizeof(bits) == sizeof(piece.score));
    std::memcpy(&bits, &piece.score, sizeof(bits));
    hash.add(uint64_t{bits});
    hash.add(static_cast<uint64_t>(piece.type));
  }
  return hash.hex();
}

}  // namespace

std::unique_ptr<Tokenizer::Impl> tokenizer_from_sentencepiece(const SentencePieceModel& model,
                                                              DummyPrefix prefix,
                                                              std::vector<AddedToken> added,
                                                              const std::string& what) {
  check_sentencepiece_model(model, what);
  auto impl = std::make_unique<Tokenizer::Impl>();
  const auto count = static_cast<int32_t>(model.pieces.size());
  for (int32_t id = 0; id < count; ++id) {
    const SentencePiece& piece = model.pieces[static_cast<size_t>(id)];
    impl->vocabulary.set(id, piece.text);
    impl->decode_table.entries.push_back(decode_entry(piece, model));
    if (piece.type != PieceType::kControl && piece.type != PieceType::kUnknown) continue;
    if (std::any_of(added.begin(), added.end(), [&](const AddedToken& token) { return token.id == id; }))
      continue;
    AddedToken token;
    token.text = piece.text;
    token.id = id;
    token.special = true;
    impl->added.push_back(std::move(token));
  }
  for (AddedToken& token : added) {
    const bool is_piece = token.id < count;
    require(!is_piece || model.pieces[static_cast<size_t>(token.id)].text == token.text, ErrorCode::kBadFile,
            "{}: the added token '{}' has id {}, which is that of another piece", what,
            token.text.substr(0, 40), token.id);
    if (!is_piece) {
      impl->vocabulary.set(token.id, token.text);
      impl->decode_table.entries.resize(static_cast<size_t>(impl->vocabulary.size()));
    }
    auto& entry = impl->decode_table.entries[static_cast<size_t>(token.id)];
    if (!is_piece) entry = {token.text, DecodeTable::Kind::kText, false};
    entry.special = token.special;
    impl->added.push_back(std::move(token));
  }
  for (AddedToken& token : impl->added) token.normalized = false;
  impl->vocabulary.finish();
  impl->decode_table.strip_count = model.remove_extra_whitespaces ? std::numeric_limits<size_t>::max()
                                   : model.add_dummy_prefix       ? 1
                                                                  : 0;
  impl->encoder = make_sentencepiece_encoder(model, impl->vocabulary, prefix);
  finish_tokenizer(*impl, hash_pieces(model));
  const auto control = [&](const std::string& text) -> std::optional<int32_t> {
    const auto id = impl->vocabulary.find(text);
    if (!id || *id >= count || model.pieces[static_cast<size_t>(*id)].type != PieceType::kControl)
      return std::nullopt;
    return id;
  };
  impl->bos = control(model.bos_piece);
  if (const auto id = control(model.eos_piece)) add_end_token(*impl, *id);
  if (impl->bos) impl->prefix = {*impl->bos};
  return impl;
}

}  // namespace beacon
