#pragma once
// The tokenizer.json of Hugging Face's tokenizers library. Elements we do not know are refused by name.
#include <memory>
#include <string>
#include <string_view>

#include "tokenizer/impl.h"
#include "tokenizer/json_fields.h"

namespace beacon {

// A whole tokenizer from the text of a tokenizer.json. Throws kBadFile or kUnsupported.
std::unique_ptr<Tokenizer::Impl> parse_tokenizer_json(std::string_view text, const std::string& what);

// Its parts, one reader each; `json` may be null, which means none.
Normalizer parse_normalizer(const Json* json, const std::string& where);
PreTokenizer parse_pre_tokenizer(const Json* json, const std::string& where);
// Fills prefix and suffix.
void parse_post_processor(const Json* json, const std::string& where, Tokenizer::Impl& impl);
// The vocabulary must be complete.
DecodeTable parse_decoder(const Json* json, const std::string& where, const Vocabulary& vocabulary);

}  // namespace beacon
