#pragma once
// Samples of a mix of sources, cut to length.
#include <beacon/tokenizer.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "train/data/sample.h"
#include "train/data/source.h"

namespace beacon::train {

// What becomes of a text longer than max_length.
enum class LongText {
  kCut,       // samples of max_length one after the other; the rest is one too if min_length allows
  kTruncate,  // its beginning
  kDrop,
};

// What becomes of a conversation or pair longer than max_length.
enum class LongDialogue {
  kDrop,
  kShorten,  // the longest stretch that is only read loses its middle; dropped when that is not enough
};

// "cut", "truncate", "drop"; "drop", "shorten". Throw kInvalidArgument naming the choices.
LongText long_text_from_string(const std::string& name);
LongDialogue long_dialogue_from_string(const std::string& name);

struct DatasetOptions {
  std::vector<DataSource> sources;
  std::filesystem::path cache_folder;  // for the tokens of all sources
  std::string chat_template;           // name, see chat.h; empty: conversations are broken lines
  int64_t min_length = 2;              // tokens; shorter samples are dropped
  int64_t max_length = 8192;           // tokens; at least min_length
  LongText long_text = LongText::kCut;
  LongDialogue long_dialogue = LongDialogue::kDrop;
  // Texts of a source one after the other, cut every max_length tokens: every sample but a source's last is
  // that long, and texts begin in its middle. Takes the place of long_text. Conversations and pairs are never
  // packed.
  bool pack = false;
  uint64_t seed = 42;  // of the samples that stay when a source has a limit
};

// Samples [begin, end) of one source, and what was dropped on the way.
struct DatasetPart {
  std::string path;
  double weight = 1;
  int64_t begin = 0;
  int64_t end = 0;
  int64_t documents = 0;      // that the source holds
  int64_t broken = 0;         // lines or files that could not be read
  int64_t dropped_short = 0;  // samples below min_length
  int64_t dropped_long = 0;   // documents above max_length
  int64_t over_limit = 0;     // samples left out by the source's limit
  int64_t tokens = 0;         // of the samples
  int64_t scored_tokens = 0;  // of these, learnt
};

// Constant after construction and safe to share between threads. Tokens stay in the mapped caches; only where
// samples begin and end is in memory.
class Dataset {
 public:
  // Imports all sources. `progress` counts bytes of the source being read. Throws as import_source(),
  // kInvalidArgument for lengths that contradict each other, and kBadFile for a source without a sample.
  Dataset(const DatasetOptions& options, const Encoder& encoder, const ImportProgress& progress = {});

  int64_t size() const { return static_cast<int64_t>(samples_.size()); }
  // 0 <= index < size().
  Sample at(int64_t index) const;
  int64_t length(int64_t index) const;
  const std::vector<DatasetPart>& parts() const { return parts_; }
  // Of every sample's tokens and labels: equal for equal sources, tokenizer and options.
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  struct Entry {
    uint64_t begin;     // first token in the cache
    uint32_t length;    // tokens of the sample
    uint32_t document;  // it begins in
    uint32_t cache;
    uint32_t removed;  // tokens taken out of a dialogue
    bool bos;          // the encoder's first token is put before it, and counts in `length`
  };
  void add_source(const DataSource& source, std::shared_ptr<const TokenCache> cache);
  void add_texts(uint32_t cache, int64_t first, int64_t last, DatasetPart& part);
  void add_text_range(uint32_t cache, int64_t document, uint64_t begin, uint64_t end, DatasetPart& part);
  void add_dialogue(uint32_t cache, int64_t document, DatasetPart& part);
  void add_entry(const Entry& entry, DatasetPart& part);
  void apply_limit(const DataSource& source, int64_t number, DatasetPart& part);
  void count_tokens(DatasetPart& part) const;
  Sample text_sample(const Entry& entry) const;
  Sample dialogue_sample(const Entry& entry) const;
  std::string source_name(const Entry& entry) const;

  DatasetOptions options_;
  std::vector<std::shared_ptr<const TokenCache>> caches_;
  std::vector<Entry> samples_;
  std::vector<DatasetPart> parts_;
  uint64_t fingerprint_ = 0;
};

}  // namespace beacon::train
