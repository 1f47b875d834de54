#pragma once
// The parts of a tokenizer, as the readers put them together.
#include <beacon/tokenizer.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/decode_table.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/section_encoder.h"
#include "tokenizer/vocabulary.h"

namespace beacon {

class BEACON_LOCAL Tokenizer::Impl {
 public:
  Vocabulary vocabulary;
  std::vector<AddedToken> added;         // all of them, by rising id
  AddedTokenMatcher raw_matcher;         // looked for in the text as it comes
  AddedTokenMatcher normalized_matcher;  // looked for in the normalized text
  Normalizer normalizer;
  std::unique_ptr<const SectionEncoder> encoder;
  DecodeTable decode_table;
  std::vector<int32_t> prefix;  // what encode() adds before and after
  std::vector<int32_t> suffix;
  std::optional<int32_t> bos;
  std::vector<int32_t> eos;  // sorted, each once
  std::optional<std::string> chat_template;
  std::string fingerprint;

  // Ids of a text, without prefix and suffix.
  std::vector<int32_t> encode(std::string_view text, const TrustedRanges& trusted) const;

 private:
  void encode_section(std::string_view section, bool first, const TrustedRanges& trusted,
                      EncodeScratch& scratch, std::vector<int32_t>& out) const;
};

}  // namespace beacon
