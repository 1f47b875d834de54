#include "tokenizer/word_cache.h"

#include <xxhash.h>

#include <algorithm>

namespace beacon {
namespace {

constexpr size_t kMaxSlots = size_t{1} << 16;
constexpr size_t kMaxWordBytes = 64;
constexpr size_t kMaxStoredBytes = size_t{16} << 20;

}  // namespace

WordCache::WordCache(size_t text_bytes) {
  size_t slots = 64;
  while (slots < kMaxSlots && slots < text_bytes / 4) slots *= 2;
  slots_.resize(slots);
}

bool WordCache::find(std::string_view word, std::vector<int32_t>& out) {
  if (word.size() > kMaxWordBytes) return false;
  last_hash_ = XXH3_64bits(word.data(), word.size());
  const Slot& slot = slots_[last_hash_ & (slots_.size() - 1)];
  if (slot.hash != last_hash_ || slot.text_size != word.size() ||
      std::string_view(texts_).substr(slot.text_at, slot.text_size) != word)
    return false;
  const auto begin = ids_.begin() + slot.ids_at;
  out.insert(out.end(), begin, begin + slot.id_count);
  return true;
}

void WordCache::store(std::string_view word, const std::vector<int32_t>& ids, size_t from) {
  if (word.empty() || word.size() > kMaxWordBytes) return;
  if (texts_.size() > kMaxStoredBytes) {
    std::fill(slots_.begin(), slots_.end(), Slot{});
    texts_.clear();
    ids_.clear();
  }
  Slot& slot = slots_[last_hash_ & (slots_.size() - 1)];
  slot = {last_hash_, static_cast<uint32_t>(texts_.size()), static_cast<uint32_t>(ids_.size()),
          static_cast<uint16_t>(word.size()), static_cast<uint16_t>(ids.size() - from)};
  texts_.append(word);
  ids_.insert(ids_.end(), ids.begin() + static_cast<ptrdiff_t>(from), ids.end());
}

}  // namespace beacon
