#pragma once
// Ids of words that came before in the same call.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

// Direct-mapped and bounded: a word that meets another one in its slot replaces it. Belongs to one thread.
class WordCache {
 public:
  // Makes room fit for a text of so many bytes.
  explicit WordCache(size_t text_bytes);

  // Appends the ids of a word that is known.
  bool find(std::string_view word, std::vector<int32_t>& out);
  // Keeps ids[from..] as those of the word last looked up without success.
  void store(std::string_view word, const std::vector<int32_t>& ids, size_t from);

 private:
  struct Slot {
    uint64_t hash = 0;
    uint32_t text_at = 0;
    uint32_t ids_at = 0;
    uint16_t text_size = 0;  // 0: empty
    uint16_t id_count = 0;
  };
  std::vector<Slot> slots_;
  std::string texts_;
  std::vector<int32_t> ids_;
  uint64_t last_hash_ = 0;
};

}  // namespace beacon
