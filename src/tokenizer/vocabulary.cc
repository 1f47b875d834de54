#include "tokenizer/vocabulary.h"

#include <xxhash.h>

#include "base/check.h"

namespace beacon {

void StringTable::reserve(size_t count) {
  size_t slots = 16;
  while (slots < count * 2) slots *= 2;
  std::vector<Slot> old = std::move(slots_);
  slots_.assign(slots, {});
  mask_ = slots - 1;
  used_ = 0;
  for (const Slot& slot : old)
    if (slot.value >= 0) insert(slot.key, slot.value);
}

bool StringTable::insert(std::string_view key, int32_t value) {
  if ((used_ + 1) * 2 > slots_.size()) reserve(used_ * 2 + 8);
  size_t at = XXH3_64bits(key.data(), key.size()) & mask_;
  for (; slots_[at].value >= 0; at = (at + 1) & mask_)
    if (slots_[at].key == key) return false;
  slots_[at] = {key, value};
  ++used_;
  return true;
}

int32_t StringTable::find(std::string_view key) const {
  if (slots_.empty()) return -1;
  size_t at = XXH3_64bits(key.data(), key.size()) & mask_;
  for (; slots_[at].value >= 0; at = (at + 1) & mask_)
    if (slots_[at].key == key) return slots_[at].value;
  return -1;
}

void Vocabulary::set(int32_t id, std::string_view text) {
  BEACON_CHECK(id >= 0);
  const auto at = static_cast<size_t>(id);
  if (at >= tokens_.size()) tokens_.resize(at + 1);
  require(tokens_[at].empty() || tokens_[at] == text, ErrorCode::kBadFile,
          "expected one token per id, found '{}' and '{}' both with id {}", tokens_[at].substr(0, 40),
          text.substr(0, 40), id);
  tokens_[at] = text;
}

void Vocabulary::finish() {
  ids_ = {};
  ids_.reserve(tokens_.size());
  for (size_t id = 0; id < tokens_.size(); ++id)
    if (!tokens_[id].empty()) ids_.insert(tokens_[id], static_cast<int32_t>(id));
}

std::optional<int32_t> Vocabulary::find(std::string_view text) const {
  const int32_t id = ids_.find(text);
  return id < 0 ? std::nullopt : std::optional(id);
}

}  // namespace beacon
