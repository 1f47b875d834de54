#include <array>
#include <cstring>

#include "base/check.h"
#include "io/json_reader.h"
#include "train/data/token_cache.h"
#include "train/data/token_cache_format.h"

namespace beacon::train {

TokenCacheWriter::TokenCacheWriter(const std::filesystem::path& path, int32_t vocab_size)
    : file_(path), vocab_size_(vocab_size), hash_(XXH3_createState()) {
  BEACON_CHECK(hash_ != nullptr && XXH3_64bits_reset(hash_) == XXH_OK);
}

TokenCacheWriter::~TokenCacheWriter() { XXH3_freeState(hash_); }

void TokenCacheWriter::write(std::span<const std::byte> bytes) {
  XXH3_64bits_update(hash_, bytes.data(), bytes.size());
  file_.write(bytes);
}

void TokenCacheWriter::write_u64(uint64_t value) { write(std::as_bytes(std::span(&value, 1))); }

void TokenCacheWriter::add(const EncodedExample& example, uint32_t file, uint32_t line) {
  BEACON_CHECK(!example.ids.empty() && example.ids.size() <= UINT32_MAX);
  documents_.push_back({num_tokens_, runs_.size(), file, line, static_cast<uint32_t>(example.kind)});
  for (const int32_t id : example.ids) BEACON_CHECK(id >= 0 && id < vocab_size_);
  if (vocab_size_ <= UINT16_MAX + 1) {
    const std::vector<uint16_t> narrow(example.ids.begin(), example.ids.end());
    write(std::as_bytes(std::span(narrow)));
  } else {
    write(std::as_bytes(std::span(example.ids)));
  }
  num_tokens_ += example.ids.size();
  runs_.insert(runs_.end(), example.runs.begin(), example.runs.end());
}

void TokenCacheWriter::finish(TokenCacheHeader header) {
  header.vocab_size = vocab_size_;
  const uint64_t token_bytes = vocab_size_ <= UINT16_MAX + 1 ? 2 : 4;
  constexpr std::array<std::byte, 8> kZeros{};
  write(std::span(kZeros).first(aligned(num_tokens_ * token_bytes) - num_tokens_ * token_bytes));
  write(std::as_bytes(std::span(runs_)));
  for (const Entry& entry : documents_) {
    write_u64(entry.begin);
    write_u64(entry.first_run);
    const std::array<uint32_t, 4> rest = {entry.file, entry.line, entry.kind, 0};
    write(std::as_bytes(std::span(rest)));
  }
  const std::string json = Json({{"key", header.key},
                                 {"bos", header.bos},
                                 {"vocab_size", header.vocab_size},
                                 {"files", header.files},
                                 {"broken", header.broken},
                                 {"problems", header.problems}})
                               .dump(-1, ' ', true, Json::error_handler_t::replace);
  write(std::as_bytes(std::span(json)));
  write(std::as_bytes(std::span(kMagic)));
  for (const uint64_t field : {token_bytes, num_tokens_, uint64_t{runs_.size()}, uint64_t{documents_.size()},
                               uint64_t{json.size()}, uint64_t{0}})
    write_u64(field);
  const uint64_t checksum = XXH3_64bits_digest(hash_);
  file_.write(std::as_bytes(std::span(&checksum, 1)));
  file_.commit();
}

}  // namespace beacon::train
