#pragma once
// The last steps that all readers share.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tokenizer/bpe_merger.h"
#include "tokenizer/impl.h"

namespace beacon {

// xxh3-128 over values of known kinds, each with its length, so that no two sequences collide by
// concatenation.
class FingerprintHash {
 public:
  FingerprintHash();
  ~FingerprintHash();
  FingerprintHash(const FingerprintHash&) = delete;
  FingerprintHash& operator=(const FingerprintHash&) = delete;
  void add(std::string_view text);
  void add(uint64_t number);
  std::string hex() const;

 private:
  void* state_;
};

// Sorts the added tokens, builds the two matchers, marks special tokens in the decode table, hashes the
// vocabulary, `rules` (merges or scores, hashed by the reader) and the special tokens. Needs vocabulary,
// added, normalizer and decode_table.
void finish_tokenizer(Tokenizer::Impl& impl, std::string_view rules);

// Hash of merges for finish_tokenizer().
std::string hash_merges(std::span<const BpeMerge> merges);

// Adds to impl.eos the special tokens that end a turn or a text in the families we know, found by their text.
void add_known_end_tokens(Tokenizer::Impl& impl);

void add_end_token(Tokenizer::Impl& impl, int32_t id);

// The id given, or an error when it is not in the vocabulary.
int32_t check_token_id(const Tokenizer::Impl& impl, int64_t id, std::string_view name,
                       const std::string& what);

}  // namespace beacon
