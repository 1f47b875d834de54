#pragma once
// One pass over the head of a GGUF file; internal to io.
#include <string>
#include <string_view>

#include "io/gguf.h"

namespace beacon {

inline constexpr std::string_view kGgufSupportedKinds =
    "F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K Q6_K";

// Bytes of one scalar of a kind; 0 for strings and arrays.
size_t gguf_scalar_bytes(GgufType type);

// Holds a cursor into hostile bytes. Every read is checked against what is left; every count is checked
// against the smallest size its items can have before anything is allocated.
class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, const std::string& what) : bytes_(bytes), what_(what) {}
  GgufFile parse();

 private:
  // A tensor's entry in the table, before the place of the data is known.
  struct Entry {
    std::string name;
    uint32_t kind = 0;
    std::vector<int64_t> shape;
    uint64_t elements = 1;
    uint64_t offset = 0;
  };

  uint64_t left() const { return bytes_.size() - position_; }
  std::span<const std::byte> take(uint64_t n, std::string_view purpose);
  template <typename T>
  T read(std::string_view purpose);
  std::string_view read_string(uint64_t max_bytes, std::string_view purpose);
  GgufType read_type(std::string_view purpose);
  uint64_t check_count(uint64_t count, uint64_t smallest, std::string_view purpose);
  void read_header();
  void read_metadata();
  GgufValue read_value(std::string_view key);
  void read_array(GgufValue& value, std::string_view key);
  void read_alignment();
  Entry read_entry();
  void read_tensors();
  void place_tensor(const Entry& entry, std::span<const std::byte> data);
  void check_overlaps() const;

  std::span<const std::byte> bytes_;
  std::string what_;
  uint64_t position_ = 0;
  uint64_t tensor_count_ = 0;
  uint64_t value_count_ = 0;
  GgufFile file_;
};

}  // namespace beacon
