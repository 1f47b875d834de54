#pragma once
// Tokenizers from bytes and files, for the library itself. All of these throw kBadFile or kUnsupported.
#include <beacon/tokenizer.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/impl.h"
#include "tokenizer/sentencepiece_model.h"

namespace beacon {

class GgufFile;

// The tokenizer.ggml.* values of a GGUF file. Views refer to the file's bytes.
struct GgufVocabulary {
  std::string model;  // "gpt2" or "llama"
  std::string pre;    // rules of a gpt2 vocabulary
  std::vector<std::string_view> tokens;
  std::vector<float> scores;             // llama
  std::vector<int64_t> types;            // PieceType by number; empty: none given
  std::vector<std::string_view> merges;  // gpt2
  std::optional<int64_t> bos;
  std::optional<int64_t> unk;
  std::vector<int64_t> ends;  // EOS, end of turn, end of message
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  bool add_space_prefix = true;
  bool remove_extra_whitespaces = false;
  std::optional<std::string> chat_template;
};

GgufVocabulary read_gguf_vocabulary(const GgufFile& file);
std::unique_ptr<Tokenizer::Impl> tokenizer_from_gguf_vocabulary(const GgufVocabulary& vocabulary,
                                                                const std::string& what);
// The two in one. The tokenizer keeps nothing of the file.
std::shared_ptr<const Tokenizer> load_tokenizer(const GgufFile& file);

// A .model file. With the dummy prefix at the first section only, as configurations with "legacy": false ask
// for.
std::unique_ptr<Tokenizer::Impl> tokenizer_from_sentencepiece(const SentencePieceModel& model,
                                                              DummyPrefix prefix,
                                                              std::vector<AddedToken> added,
                                                              const std::string& what);

// Texts of tokenizer_config.json, generation_config.json and the like.
void apply_tokenizer_config(std::string_view text, const std::string& what, Tokenizer::Impl& impl);
void apply_generation_config(std::string_view text, const std::string& what, Tokenizer::Impl& impl);

}  // namespace beacon
