#include <beacon/tokenizer.h>

#include <limits>

#include "base/check.h"
#include "tokenizer/impl.h"
#include "tokenizer/utf8.h"

namespace beacon {
namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;

void check_size(size_t bytes) {
  require(bytes < kMaxTextBytes, ErrorCode::kCapacity,
          "expected a text of less than {} bytes, found {}; give it in smaller pieces", kMaxTextBytes, bytes);
}

}  // namespace

std::vector<int32_t> Tokenizer::Impl::encode(std::string_view text, const TrustedRanges& trusted) const {
  EncodeScratch scratch(text.size());
  std::vector<int32_t> out;
  out.reserve(text.size() / 3 + 8);
  for (const TextSection& section : raw_matcher.split(text, trusted)) {
    if (section.id >= 0) {
      out.push_back(section.id);
      continue;
    }
    // Places change under normalization: below, special tokens are read only where the whole section is
    // trusted.
    TrustedRanges inner;
    inner.all = trusted.covers(section.begin, section.end);
    encode_section(text.substr(section.begin, section.end - section.begin), section.begin == 0, inner,
                   scratch, out);
  }
  return out;
}

void Tokenizer::Impl::encode_section(std::string_view section, bool first, const TrustedRanges& trusted,
                                     EncodeScratch& scratch, std::vector<int32_t>& out) const {
  std::string normalized;
  if (!normalizer.is_identity()) {
    normalized = normalizer.apply(section);
    section = normalized;
  }
  if (normalized_matcher.empty()) {
    if (!section.empty()) encoder->encode(section, first, scratch, out);
    return;
  }
  for (const TextSection& part : normalized_matcher.split(section, trusted)) {
    if (part.id >= 0)
      out.push_back(part.id);
    else
      encoder->encode(section.substr(part.begin, part.end - part.begin), first && part.begin == 0, scratch,
                      out);
  }
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  check_size(text.size());
  std::string replaced;
  if (!is_valid_utf8(text)) {
    replaced = replace_invalid_utf8(text);
    text = replaced;
  }
  TrustedRanges trusted;
  trusted.all = options.parse_special;
  auto ids = impl_->encode(text, trusted);
  if (options.add_special) {
    ids.insert(ids.begin(), impl_->prefix.begin(), impl_->prefix.end());
    ids.insert(ids.end(), impl_->suffix.begin(), impl_->suffix.end());
  }
  return ids;
}

std::vector<int32_t> Tokenizer::encode(std::span<const TextPiece> pieces, bool add_special) const {
  std::string text;
  TrustedRanges trusted;
  for (const TextPiece& piece : pieces) {
    const size_t begin = text.size();
    text += is_valid_utf8(piece.text) ? piece.text : replace_invalid_utf8(piece.text);
    check_size(text.size());
    if (!piece.trusted) continue;
    if (!trusted.ranges.empty() && trusted.ranges.back().second == begin)
      trusted.ranges.back().second = text.size();
    else
      trusted.ranges.emplace_back(begin, text.size());
  }
  auto ids = impl_->encode(text, trusted);
  if (add_special) {
    ids.insert(ids.begin(), impl_->prefix.begin(), impl_->prefix.end());
    ids.insert(ids.end(), impl_->suffix.begin(), impl_->suffix.end());
  }
  return ids;
}

namespace {

void check_id(const Tokenizer& tokenizer, int32_t id) {
  require(id >= 0 && id < tokenizer.vocab_size(), ErrorCode::kInvalidArgument,
          "expected token ids of 0 to {}, found {}", tokenizer.vocab_size() - 1, id);
}

}  // namespace

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  DecodeState state(impl_->decode_table);
  for (const int32_t id : ids) {
    check_id(*this, id);
    state.push(id, skip_special, out);
  }
  state.finish(out);
  return out;
}

int32_t Tokenizer::vocab_size() const { return impl_->vocabulary.size(); }
std::optional<int32_t> Tokenizer::bos_id() const { return impl_->bos; }
const std::vector<int32_t>& Tokenizer::eos_ids() const { return impl_->eos; }
bool Tokenizer::adds_bos() const {
  return impl_->bos && !impl_->prefix.empty() && impl_->prefix[0] == *impl_->bos;
}
std::optional<int32_t> Tokenizer::find(std::string_view token) const { return impl_->vocabulary.find(token); }

std::string Tokenizer::token_text(int32_t id) const {
  check_id(*this, id);
  return impl_->vocabulary.text(id);
}

bool Tokenizer::is_special(int32_t id) const {
  check_id(*this, id);
  return impl_->decode_table.entries[static_cast<size_t>(id)].special;
}

std::string Tokenizer::fingerprint() const { return impl_->fingerprint; }
std::optional<std::string> Tokenizer::chat_template() const { return impl_->chat_template; }

struct BEACON_LOCAL StreamDecoder::State {
  std::shared_ptr<const Tokenizer> tokenizer;
  bool skip_special;
  DecodeState decode;
};

StreamDecoder::StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special) {
  require(tokenizer != nullptr, ErrorCode::kInvalidArgument,
          "expected a tokenizer for the StreamDecoder, found none");
  DecodeState decode(tokenizer->impl().decode_table);
  state_ = std::make_unique<State>(State{std::move(tokenizer), skip_special, std::move(decode)});
}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  check_id(*state_->tokenizer, id);
  std::string out;
  state_->decode.push(id, state_->skip_special, out);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  state_->decode.finish(out);
  return out;
}

}  // namespace beacon
