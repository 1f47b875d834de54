// Caches of tokens. The checksum is mended first, or nothing would ever get past it; what is accepted is read
// whole.
#include <beacon/error.h>
#include <xxhash.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "train/data/token_cache.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace beacon;
  std::vector<uint64_t> aligned((size + 7) / 8);  // as a mapping is
  auto* bytes = reinterpret_cast<std::byte*>(aligned.data());
  if (size > 0) std::memcpy(bytes, data, size);
  if (size >= sizeof(uint64_t)) {
    const uint64_t checksum = XXH3_64bits(bytes, size - sizeof(uint64_t));
    std::memcpy(bytes + size - sizeof(uint64_t), &checksum, sizeof(checksum));
  }
  try {
    const auto cache = train::TokenCache::parse({bytes, size}, "cache");
    for (int64_t d = 0; d < cache->num_documents(); ++d) {
      const train::TokenDocument document = cache->document(d);
      std::vector<int32_t> ids(document.end - document.begin);
      cache->copy_tokens(document.begin, ids);
      for (const int32_t id : ids)
        if (id < 0 || id >= cache->header().vocab_size) std::abort();
      for (const train::ScoredRun& run : document.runs)
        if (run.begin >= run.end || run.end > ids.size()) std::abort();
      if (document.file >= cache->header().files.size()) std::abort();
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadFile) std::abort();
  }
  return 0;
}
