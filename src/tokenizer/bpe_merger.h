#pragma once
// The merging of byte-pair encoding: of all neighbouring pairs that have a merge, the one of the lowest rank
// and, of equals, the leftmost is replaced, until there is none.
#include <cstdint>
#include <vector>

namespace beacon {

// One rule: `left` `right` -> `merged`. Rules of equal rank are tried from left to right.
struct BpeMerge {
  int32_t left = 0;
  int32_t right = 0;
  uint32_t rank = 0;
  int32_t merged = 0;
};

// Memory that one thread reuses between calls.
struct BpeScratch {
  struct Candidate {
    uint32_t rank;
    uint32_t at;
    int32_t left;
    int32_t right;
    int32_t merged;
  };
  std::vector<uint32_t> ranks;
  std::vector<int32_t> merged;
  std::vector<uint32_t> next;
  std::vector<uint32_t> previous;
  std::vector<Candidate> heap;
};

// Const after construction, shared by threads.
class BpeMerger {
 public:
  BpeMerger() = default;
  // The last of rules for the same pair stays, as in Hugging Face's reader. Symbols must not be negative.
  explicit BpeMerger(const std::vector<BpeMerge>& merges);

  // Merges in place. O(n log n); the quadratic loop is for short words only, where it is the faster one.
  void merge(std::vector<int32_t>& symbols, BpeScratch& scratch) const;

  // The obvious way, quadratic: the twin that the tests compare with.
  void merge_slowly(std::vector<int32_t>& symbols) const;

 private:
  struct Rule {
    uint64_t pair = kNoPair;
    uint32_t rank = kNoRank;
    int32_t merged = -1;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  const Rule& find(int32_t left, int32_t right) const;
  void merge_short(std::vector<int32_t>& symbols, BpeScratch& scratch) const;
  void merge_long(std::vector<int32_t>& symbols, BpeScratch& scratch) const;

  std::vector<Rule> rules_;  // open addressing
  uint64_t mask_ = 0;
};

}  // namespace beacon
