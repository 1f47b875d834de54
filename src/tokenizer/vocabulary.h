#pragma once
// Tokens by id, ids by text.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

// Strings to numbers, by open addressing. The strings are kept by the owner and must outlive the table
// unmoved.
class StringTable {
 public:
  void reserve(size_t count);
  // The first of equal keys stays; returns whether this one was new.
  bool insert(std::string_view key, int32_t value);
  // -1 when there is none.
  int32_t find(std::string_view key) const;

 private:
  struct Slot {
    std::string_view key;
    int32_t value = -1;
  };
  std::vector<Slot> slots_;
  size_t mask_ = 0;
  size_t used_ = 0;
};

// Fixed after finish(). Ids may have holes, whose text is empty.
class Vocabulary {
 public:
  // Throws kBadFile when an id is given twice with different texts.
  void set(int32_t id, std::string_view text);
  void finish();

  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  const std::string& text(int32_t id) const { return tokens_[static_cast<size_t>(id)]; }
  std::optional<int32_t> find(std::string_view text) const;

 private:
  std::vector<std::string> tokens_;
  StringTable ids_;
};

}  // namespace beacon
