#pragma once
// The GGUF format, versions 2 and 3, little-endian: metadata, a tensor table, the tensors' bytes.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/tensor_view.h"

namespace beacon {

class MappedFile;

// Kinds of metadata values, with the numbers of the format.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};
std::string_view to_string(GgufType type);

// One metadata value, referring to the file's bytes. Arrays of strings carry one view per string in
// `strings`.
struct GgufValue {
  GgufType type = GgufType::kU8;
  GgufType element = GgufType::kU8;  // of an array
  uint64_t count = 1;                // elements of an array
  std::span<const std::byte> bytes;  // the packed scalars of a number, bool or array of them; unaligned
  std::string_view text;             // of a string
  std::vector<std::string_view> strings;
};

// A parsed file. Const after construction, so threads may share it; views live as long as the bytes do.
class GgufFile {
 public:
  // Parses a file that lies in memory and must outlive the object. Throws kBadFile (truncated, absurd counts
  // or lengths, nested arrays, bad alignment, overlapping tensors, names that come twice) or kUnsupported
  // (version, big-endian).
  static GgufFile parse(std::span<const std::byte> bytes, const std::string& what = "GGUF data");
  // Maps and parses; the object keeps the mapping alive.
  static GgufFile open(const std::filesystem::path& path);

  uint32_t version() const { return version_; }
  uint64_t alignment() const { return alignment_; }
  // Tensors of kinds we read, in file order; shapes are outermost first (the file has them innermost first).
  const std::vector<TensorView>& tensors() const { return tensors_; }
  // Nothing when the file has no such tensor; throws kUnsupported when it is of a kind we do not read.
  const TensorView* find(std::string_view name) const;
  // Name and kind ("IQ4_XS") of the tensors we do not read.
  const std::vector<std::pair<std::string, std::string>>& unsupported() const { return unsupported_; }

  // Metadata. Each getter gives nothing when the key is absent and throws kBadFile, naming the key, the kind
  // expected and the kind found, when it holds something else.
  const std::vector<std::string_view>& keys() const { return keys_; }
  bool has(std::string_view key) const { return values_.count(key) != 0; }
  const GgufValue* value(std::string_view key) const;
  std::optional<int64_t> get_int(std::string_view key) const;   // any integer kind that fits
  std::optional<double> get_float(std::string_view key) const;  // F32, F64 or any integer kind; finite
  std::optional<bool> get_bool(std::string_view key) const;
  std::optional<std::string_view> get_string(std::string_view key) const;
  std::optional<std::vector<std::string_view>> get_strings(std::string_view key) const;
  std::optional<std::vector<int64_t>> get_ints(std::string_view key) const;  // array of any integer kind
  std::optional<std::vector<float>> get_floats(std::string_view key) const;  // array of F32 or F64, as stored
  const std::string& what() const { return what_; }

 private:
  friend class GgufParser;
  std::shared_ptr<const MappedFile> file_;
  std::string what_;
  uint32_t version_ = 0;
  uint64_t alignment_ = 32;
  std::vector<std::string_view> keys_;
  std::unordered_map<std::string_view, GgufValue> values_;
  std::vector<TensorView> tensors_;
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::pair<std::string, std::string>> unsupported_;
};

}  // namespace beacon
