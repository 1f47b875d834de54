#include "tokenizer/bpe_merger.h"

#include <algorithm>

#include "base/check.h"

namespace beacon {
namespace {

constexpr size_t kShortWord = 40;
constexpr uint32_t kNone = ~uint32_t{0};

uint64_t pair_key(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
}

uint64_t mix(uint64_t key) {
  key *= 0x9E3779B97F4A7C15ull;
  return key ^ (key >> 29);
}

// Orders a heap so that its front has the lowest rank and, of equals, the leftmost place.
bool comes_later(const BpeScratch::Candidate& a, const BpeScratch::Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
}

}  // namespace

BpeMerger::BpeMerger(const std::vector<BpeMerge>& merges) {
  uint64_t slots = 16;
  while (slots < merges.size() * 2) slots *= 2;
  rules_.resize(slots);
  mask_ = slots - 1;
  for (const BpeMerge& merge : merges) {
    BEACON_CHECK(merge.left >= 0 && merge.right >= 0 && merge.merged >= 0 && merge.rank != kNoRank);
    const uint64_t key = pair_key(merge.left, merge.right);
    uint64_t at = mix(key) & mask_;
    while (rules_[at].pair != kNoPair && rules_[at].pair != key) at = (at + 1) & mask_;
    rules_[at] = {key, merge.rank, merge.merged};
  }
}

const BpeMerger::Rule& BpeMerger::find(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  uint64_t at = mix(key) & mask_;
  while (rules_[at].pair != key && rules_[at].pair != kNoPair) at = (at + 1) & mask_;
  return rules_[at];
}

void BpeMerger::merge(std::vector<int32_t>& symbols, BpeScratch& scratch) const {
  if (symbols.size() < 2 || rules_.empty()) return;
  if (symbols.size() <= kShortWord)
    merge_short(symbols, scratch);
  else
    merge_long(symbols, scratch);
}

void BpeMerger::merge_slowly(std::vector<int32_t>& symbols) const {
  while (symbols.size() > 1 && !rules_.empty()) {
    size_t best = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i)
      if (find(symbols[i], symbols[i + 1]).rank < find(symbols[best], symbols[best + 1]).rank) best = i;
    const Rule& rule = find(symbols[best], symbols[best + 1]);
    if (rule.rank == kNoRank) return;
    symbols[best] = rule.merged;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

void BpeMerger::merge_short(std::vector<int32_t>& symbols, BpeScratch& scratch) const {
  size_t n = symbols.size();
  auto& ranks = scratch.ranks;  // of the pair that begins at each symbol
  auto& merged = scratch.merged;
  ranks.resize(n);
  merged.resize(n);
  const auto look_up = [&](size_t i) {
    const Rule& rule = find(symbols[i], symbols[i + 1]);
    ranks[i] = rule.rank;
    merged[i] = rule.merged;
  };
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n > 1) {
    const size_t best = static_cast<size_t>(
        std::min_element(ranks.begin(), ranks.begin() + static_cast<ptrdiff_t>(n) - 1) - ranks.begin());
    if (ranks[best] == kNoRank) break;
    symbols[best] = merged[best];
    for (size_t i = best + 1; i + 1 < n; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    --n;
    if (best > 0) look_up(best - 1);
    if (best + 1 < n) look_up(best);
  }
  symbols.resize(n);
}

void BpeMerger::merge_long(std::vector<int32_t>& symbols, BpeScratch& scratch) const {
  BEACON_CHECK(symbols.size() < kNone);
  const auto n = static_cast<uint32_t>(symbols.size());
  auto& next = scratch.next;
  auto& previous = scratch.previous;
  auto& heap = scratch.heap;
  next.resize(n);
  previous.resize(n);
  heap.clear();
  for (uint32_t i = 0; i < n; ++i) {
    next[i] = i + 1 < n ? i + 1 : kNone;
    previous[i] = i > 0 ? i - 1 : kNone;
  }
  const auto candidate = [&](uint32_t at) {
    const int32_t left = symbols[at];
    const int32_t right = symbols[next[at]];
    const Rule& rule = find(left, right);
    if (rule.rank == kNoRank) return false;
    heap.push_back({rule.rank, at, left, right, rule.merged});
    return true;
  };
  for (uint32_t i = 0; i + 1 < n; ++i) candidate(i);
  std::make_heap(heap.begin(), heap.end(), comes_later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), comes_later);
    const auto top = heap.back();
    heap.pop_back();
    // Stale when one of the two symbols has changed since; a swallowed symbol is -1.
    if (symbols[top.at] != top.left || next[top.at] == kNone || symbols[next[top.at]] != top.right) continue;
    const uint32_t gone = next[top.at];
    symbols[top.at] = top.merged;
    symbols[gone] = -1;
    next[top.at] = next[gone];
    if (next[gone] != kNone) previous[next[gone]] = top.at;
    if (next[top.at] != kNone && candidate(top.at)) std::push_heap(heap.begin(), heap.end(), comes_later);
    if (previous[top.at] != kNone && candidate(previous[top.at]))
      std::push_heap(heap.begin(), heap.end(), comes_later);
  }
  std::erase(symbols, -1);
}

}  // namespace beacon
