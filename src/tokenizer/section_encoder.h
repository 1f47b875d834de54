#pragma once
// What lies between two added tokens becomes ids: words by regular expression and merges, or SentencePiece.
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "tokenizer/normalizer.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/sentencepiece_model.h"
#include "tokenizer/word_model.h"

namespace beacon {

// Const after construction, shared by threads.
class SectionEncoder {
 public:
  virtual ~SectionEncoder() = default;
  // Appends the ids of a section, valid UTF-8, not empty; `first` says that it begins the whole text.
  virtual void encode(std::string_view section, bool first, EncodeScratch& scratch,
                      std::vector<int32_t>& out) const = 0;
};

// Pre-tokenizer, then a model of words.
class WordEncoder : public SectionEncoder {
 public:
  WordEncoder(PreTokenizer pre_tokenizer, std::unique_ptr<const WordModel> model)
      : pre_tokenizer_(std::move(pre_tokenizer)), model_(std::move(model)) {}
  void encode(std::string_view section, bool first, EncodeScratch& scratch,
              std::vector<int32_t>& out) const override;

 private:
  PreTokenizer pre_tokenizer_;
  std::unique_ptr<const WordModel> model_;
};

// Where SentencePiece puts its space before a section.
enum class DummyPrefix { kEverySection, kFirstSection };

// The fast path where the model is plain BPE without normalization rules; libsentencepiece for all others.
// The vocabulary holds the model's pieces under the same ids and must outlive the encoder.
std::unique_ptr<const SectionEncoder> make_sentencepiece_encoder(const SentencePieceModel& model,
                                                                 const Vocabulary& vocabulary,
                                                                 DummyPrefix prefix);

// Always through libsentencepiece: the twin that the tests compare with.
std::unique_ptr<const SectionEncoder> make_library_encoder(const SentencePieceModel& model,
                                                           DummyPrefix prefix);

// True when make_sentencepiece_encoder() takes the fast path.
bool has_fast_encoder(const SentencePieceModel& model);

}  // namespace beacon
