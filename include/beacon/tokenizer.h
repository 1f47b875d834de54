#pragma once
/// \file tokenizer.h
/// Text to token ids and back, exactly as the model's own tokenizer does it.
#include <beacon/export.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

/// How a text becomes ids.
struct EncodeOptions {
  bool add_special = true;     ///< BOS (or EOS) where the tokenizer itself adds it
  bool parse_special = false;  ///< special tokens written in the text become their ids; for trusted text only
};

/// A stretch of text with its origin. Special tokens are read only where they lie wholly in trusted
/// stretches, so that the text of a user cannot forge the marks of a chat template.
struct TextPiece {
  std::string text;
  bool trusted = false;
};

/// A vocabulary with its rules: byte-level BPE, BPE with byte fallback, or SentencePiece.
///
/// Constant after load() and safe to share between threads.
///
/// Invalid UTF-8 in a text is replaced by U+FFFD exactly as Python's bytes.decode("utf-8", errors="replace")
/// does: one U+FFFD for each maximal part of an ill-formed sequence.
///
/// \code
///   auto tokenizer = beacon::Tokenizer::load("SmolLM2-135M-Instruct.Q4_1.gguf");
///   std::vector<int32_t> ids = tokenizer->encode("It is a truth universally acknowledged");
///   std::string text = tokenizer->decode(ids);
/// \endcode
class BEACON_API Tokenizer {
 public:
  class Impl;

  /// Reads a Hugging Face folder (tokenizer.json, else tokenizer.model; tokenizer_config.json and
  /// generation_config.json for special ids and the chat template), a tokenizer.json, a SentencePiece .model
  /// or a .gguf file. Throws Error: kNotFound, kBadFile, or kUnsupported naming the element that is not
  /// known.
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& path);

  explicit Tokenizer(std::unique_ptr<const Impl> impl);
  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  /// Ids of a text of any length. Linear in the text up to a logarithm, whatever the text holds.
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// Ids of the concatenated pieces; special tokens are read in trusted pieces only. Adds BOS only if asked.
  std::vector<int32_t> encode(std::span<const TextPiece> pieces, bool add_special = false) const;

  /// Text of ids, valid UTF-8: bytes that form no character become U+FFFD. skip_special leaves special tokens
  /// out. Throws kInvalidArgument for an id that is negative or not below vocab_size().
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  /// One more than the largest id.
  int32_t vocab_size() const;
  std::optional<int32_t> bos_id() const;
  /// Every id that ends a generation: EOS, end of turn, end of message. Sorted; may be empty.
  const std::vector<int32_t>& eos_ids() const;
  /// True when encode() puts BOS first under EncodeOptions::add_special.
  bool adds_bos() const;

  /// Id of a token by its text as the vocabulary spells it.
  std::optional<int32_t> find(std::string_view token) const;
  /// Text of a token as the vocabulary spells it; empty for an id that is a hole of the vocabulary.
  std::string token_text(int32_t id) const;
  bool is_special(int32_t id) const;

  /// xxh3-128 in hexadecimal over vocabulary, merges or scores, and special tokens.
  std::string fingerprint() const;

  /// The model's own chat template (Jinja text), if it carries one. See chat.h.
  std::optional<std::string> chat_template() const;

  /// For the library itself.
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<const Impl> impl_;
};

/// Decodes ids one at a time and never returns half a character. The pieces of push() and finish(), joined,
/// equal Tokenizer::decode() of all ids. Belongs to one thread.
class BEACON_API StreamDecoder {
 public:
  explicit StreamDecoder(std::shared_ptr<const Tokenizer> tokenizer, bool skip_special = false);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  /// The text that is complete after this id; may be empty.
  std::string push(int32_t id);
  /// What was held back; an unfinished character becomes U+FFFD. The decoder then starts afresh.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace beacon
