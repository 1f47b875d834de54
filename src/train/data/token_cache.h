#pragma once
// Documents as tokens in one memory-mapped file, made once.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "train/data/encoder.h"

struct XXH3_state_s;

namespace beacon::train {

// What a cache says about itself and its documents; kept as JSON in the file.
struct TokenCacheHeader {
  std::string key;   // of the contents and the encoder; a cache with another key is not the one looked for
  int32_t bos = -1;  // token the encoder puts before a text; -1: none
  int32_t vocab_size = 0;             // every id is below it
  std::vector<std::string> files;     // names, by number
  int64_t broken = 0;                 // lines or files left out
  std::vector<std::string> problems;  // the first of them: file, line and what is wrong
};

// Most of a header's problems; the rest are only counted.
inline constexpr size_t kKeptProblems = 20;

struct TokenDocument {
  uint64_t begin = 0;  // first token, counted over the whole cache
  uint64_t end = 0;
  ExampleKind kind = ExampleKind::kText;
  uint32_t file = 0;                // index into the header's files
  uint32_t line = 0;                // from 1; 0: the whole file
  std::span<const ScoredRun> runs;  // relative to `begin`
};

// Format BTC1, little-endian: tokens (u16 when the vocabulary fits, else u32), zeros up to a multiple of 8,
// runs (begin u32, end u32), documents (first token u64, first run u64, file u32, line u32, kind u32, 0 u32),
// the header as JSON, and a trailer of 64 bytes: "BTC1TOKS", bytes per token u64, number of tokens, runs and
// documents u64, bytes of the header u64, 0 u64, and XXH3-64 of everything before this last field.
//
// Constant and safe to share between threads.
class TokenCache {
 public:
  // Maps the file. Throws kNotFound, kIo, or kBadFile for anything but an undamaged cache.
  static std::shared_ptr<const TokenCache> open(const std::filesystem::path& path);
  // Reads bytes that must outlive the object; `what` names them in errors. Nothing is believed: checksum,
  // sizes, order of documents and runs, ids and text are checked first. Throws kBadFile.
  static std::shared_ptr<const TokenCache> parse(std::span<const std::byte> bytes, const std::string& what);

  const TokenCacheHeader& header() const { return header_; }
  int64_t num_documents() const { return num_documents_; }
  int64_t num_tokens() const { return num_tokens_; }
  TokenDocument document(int64_t index) const;
  // Tokens [begin, begin + out.size()) of the cache.
  void copy_tokens(uint64_t begin, std::span<int32_t> out) const;

 private:
  TokenCache() = default;
  static std::shared_ptr<TokenCache> read(std::span<const std::byte> bytes, const std::string& what);
  void check_contents(const std::string& what) const;
  uint32_t token(uint64_t index) const;

  std::shared_ptr<const MappedFile> file_;  // null when parsed from bytes
  std::span<const std::byte> tokens_, runs_, documents_;
  uint64_t token_bytes_ = 4;
  int64_t num_tokens_ = 0, num_runs_ = 0, num_documents_ = 0;
  TokenCacheHeader header_;
};

// Writes a cache document by document; the file appears when finish() has succeeded. Not thread-safe.
class TokenCacheWriter {
 public:
  TokenCacheWriter(const std::filesystem::path& path, int32_t vocab_size);
  ~TokenCacheWriter();

  // ids below the vocabulary; at least one.
  void add(const EncodedExample& example, uint32_t file, uint32_t line);
  // vocab_size is filled in here.
  void finish(TokenCacheHeader header);

 private:
  struct Entry {
    uint64_t begin, first_run;
    uint32_t file, line, kind;
  };
  void write(std::span<const std::byte> bytes);
  void write_u64(uint64_t value);

  AtomicFile file_;
  int32_t vocab_size_;
  uint64_t num_tokens_ = 0;
  std::vector<ScoredRun> runs_;
  std::vector<Entry> documents_;
  XXH3_state_s* hash_;
};

}  // namespace beacon::train
