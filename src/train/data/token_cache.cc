#include "train/data/token_cache.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/checked.h"
#include "io/json_reader.h"
#include "train/data/token_cache_format.h"

namespace beacon::train {
namespace {

uint64_t u64_at(std::span<const std::byte> bytes, uint64_t offset) {
  uint64_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

uint32_t u32_at(std::span<const std::byte> bytes, uint64_t offset) {
  uint32_t value = 0;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

TokenCacheHeader parse_header(std::string_view json, const std::string& what) {
  const Json object = parse_json_object(json, what);
  const JsonReader reader(object, what);
  TokenCacheHeader header;
  header.key = reader.string("key").value_or("");
  header.bos = static_cast<int32_t>(reader.required_integer("bos", -1, INT32_MAX));
  header.vocab_size = static_cast<int32_t>(reader.required_integer("vocab_size", 1, INT32_MAX));
  header.files = reader.strings("files").value_or(std::vector<std::string>());
  header.broken = reader.required_integer("broken", 0, INT64_MAX);
  header.problems = reader.strings("problems").value_or(std::vector<std::string>());
  require(header.bos < header.vocab_size && header.problems.size() <= kKeptProblems, ErrorCode::kBadFile,
          "{}: the header contradicts itself", what);
  return header;
}

}  // namespace

std::shared_ptr<const TokenCache> TokenCache::open(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const auto cache = read(file->bytes(), path.string());
  cache->file_ = file;
  return cache;
}

std::shared_ptr<const TokenCache> TokenCache::parse(std::span<const std::byte> bytes,
                                                    const std::string& what) {
  return read(bytes, what);
}

std::shared_ptr<TokenCache> TokenCache::read(std::span<const std::byte> bytes, const std::string& what) {
  constexpr auto kBad = ErrorCode::kBadFile;
  require(bytes.size() >= kTrailerBytes, kBad, "{}: {} bytes are too few for a token cache", what,
          bytes.size());
  const auto trailer = bytes.last(kTrailerBytes);
  require(std::memcmp(trailer.data(), kMagic, sizeof(kMagic)) == 0, kBad,
          "{}: expected a token cache (BTC1), found something else", what);
  require(hash_of(bytes.first(bytes.size() - sizeof(uint64_t))) == u64_at(trailer, kTrailerBytes - 8), kBad,
          "{}: the checksum is wrong; the file is damaged: delete it, and it is made again", what);

  std::shared_ptr<TokenCache> cache(new TokenCache);
  cache->token_bytes_ = u64_at(trailer, 8);
  const uint64_t tokens = u64_at(trailer, 16), runs = u64_at(trailer, 24), documents = u64_at(trailer, 32);
  const uint64_t header_bytes = u64_at(trailer, 40);
  const uint64_t body = bytes.size() - kTrailerBytes;
  require((cache->token_bytes_ == 2 || cache->token_bytes_ == 4) && u64_at(trailer, 48) == 0, kBad,
          "{}: expected tokens of 2 or 4 bytes, found {}", what, cache->token_bytes_);
  // Each count alone is below the size of the file, so that no sum below can overflow.
  require(tokens <= body / cache->token_bytes_ && runs <= body / kRunBytes &&
              documents <= body / kDocumentBytes && header_bytes <= body,
          kBad, "{}: expected sizes within its {} bytes, found larger ones", what, bytes.size());
  const uint64_t token_end = tokens * cache->token_bytes_;
  const uint64_t runs_begin = aligned(token_end);
  const uint64_t documents_begin = runs_begin + runs * kRunBytes;
  const uint64_t header_begin = documents_begin + documents * kDocumentBytes;
  require(header_begin <= body && header_bytes == body - header_begin, kBad,
          "{}: expected its sections to fill {} bytes, found another size", what, body);
  cache->tokens_ = bytes.first(token_end);
  cache->runs_ = bytes.subspan(runs_begin, runs * kRunBytes);
  cache->documents_ = bytes.subspan(documents_begin, documents * kDocumentBytes);
  cache->num_tokens_ = static_cast<int64_t>(tokens);
  cache->num_runs_ = static_cast<int64_t>(runs);
  cache->num_documents_ = static_cast<int64_t>(documents);
  const auto header = bytes.subspan(header_begin, header_bytes);
  cache->header_ = parse_header({reinterpret_cast<const char*>(header.data()), header.size()}, what);
  cache->check_contents(what);
  return cache;
}

void TokenCache::check_contents(const std::string& what) const {
  constexpr auto kBad = ErrorCode::kBadFile;
  uint32_t largest = 0;
  for (int64_t t = 0; t < num_tokens_; ++t) largest = std::max(largest, token(static_cast<uint64_t>(t)));
  require(num_tokens_ == 0 || largest < static_cast<uint32_t>(header_.vocab_size), kBad,
          "{}: expected ids below {}, found {}", what, header_.vocab_size, largest);
  uint64_t next_token = 0, next_run = 0;
  for (int64_t d = 0; d < num_documents_; ++d) {
    const uint64_t at = static_cast<uint64_t>(d) * kDocumentBytes;
    const bool last = d + 1 == num_documents_;
    const uint64_t end = last ? static_cast<uint64_t>(num_tokens_) : u64_at(documents_, at + kDocumentBytes);
    const uint64_t run_end =
        last ? static_cast<uint64_t>(num_runs_) : u64_at(documents_, at + kDocumentBytes + 8);
    require(u64_at(documents_, at) == next_token && u64_at(documents_, at + 8) == next_run &&
                end > next_token && end - next_token <= UINT32_MAX &&
                end <= static_cast<uint64_t>(num_tokens_) && run_end >= next_run &&
                run_end <= static_cast<uint64_t>(num_runs_) &&
                u32_at(documents_, at + 16) < header_.files.size() &&
                u32_at(documents_, at + 24) <= static_cast<uint32_t>(ExampleKind::kPair),
            kBad, "{}: document {} is not where it should be", what, d);
    uint64_t after = 0;
    for (const ScoredRun& run : document(d).runs) {
      require(run.begin < run.end && run.begin >= after && run.end <= end - next_token, kBad,
              "{}: document {} has a run outside its tokens", what, d);
      after = uint64_t{run.end} + 1;
    }
    next_token = end;
    next_run = run_end;
  }
  require(next_token == static_cast<uint64_t>(num_tokens_) && next_run == static_cast<uint64_t>(num_runs_),
          kBad, "{}: expected every token in a document, found others", what);
}

uint32_t TokenCache::token(uint64_t index) const {
  if (token_bytes_ == 4) return u32_at(tokens_, index * 4);
  uint16_t value = 0;
  std::memcpy(&value, tokens_.data() + index * 2, sizeof(value));
  return value;
}

TokenDocument TokenCache::document(int64_t index) const {
  BEACON_CHECK(index >= 0 && index < num_documents_);
  const uint64_t at = static_cast<uint64_t>(index) * kDocumentBytes;
  const bool last = index + 1 == num_documents_;
  TokenDocument out;
  out.begin = u64_at(documents_, at);
  out.end = last ? static_cast<uint64_t>(num_tokens_) : u64_at(documents_, at + kDocumentBytes);
  out.file = u32_at(documents_, at + 16);
  out.line = u32_at(documents_, at + 20);
  out.kind = static_cast<ExampleKind>(u32_at(documents_, at + 24));
  const uint64_t first = u64_at(documents_, at + 8);
  const uint64_t end = last ? static_cast<uint64_t>(num_runs_) : u64_at(documents_, at + kDocumentBytes + 8);
  // Sections begin at multiples of 8 bytes of a mapping, or of whatever a caller of parse() aligned.
  out.runs = {reinterpret_cast<const ScoredRun*>(runs_.data()) + first, static_cast<size_t>(end - first)};
  return out;
}

void TokenCache::copy_tokens(uint64_t begin, std::span<int32_t> out) const {
  BEACON_CHECK(begin <= static_cast<uint64_t>(num_tokens_) &&
               out.size() <= static_cast<uint64_t>(num_tokens_) - begin);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<int32_t>(token(begin + i));
}

}  // namespace beacon::train
