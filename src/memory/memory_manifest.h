#pragma once
// What a memory file says about itself: the JSON at its head as a struct. No torch, no file access.
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace beacon {

// Bounds of what is written and read, far above any real use.
struct MemoryLimits {
  static constexpr uint64_t kManifestBytes = 4U << 20;
  static constexpr int kManifestDepth = 16;
  static constexpr size_t kBlocks = 1U << 14;
  static constexpr size_t kNameBytes = 128;           // writer, fingerprints, block names
  static constexpr size_t kTitleBytes = 1024;         // UTF-8
  static constexpr size_t kDescriptionBytes = 65536;  // UTF-8
  static constexpr size_t kOptionsBytes = 65536;      // of window_options, and of one rope value
  static constexpr size_t kRopeEntries = 64;
  static constexpr size_t kRank = 8;
  static constexpr int64_t kDimension = int64_t{1} << 12;  // layers, kv_heads, head_dim
  static constexpr int64_t kTokens = int64_t{1} << 40;     // tokens and rows
};

// How the keys of layer.N.k are held.
enum class MemoryKeys {
  kRotated,    // after RoPE, at position = row index; layer.N.k_pre holds the open window's before RoPE
  kUnrotated,  // before RoPE (dynamic NTK), no layer.N.k_pre
  kSettled,    // after RoPE, never rotated again (a plain session, whose windows do not close), no
               // layer.N.k_pre
};

// The typed fields of the manifest. Strings are UTF-8; numbers are checked against MemoryLimits.
struct MemoryManifest {
  std::string writer;                       // program and version, "beacon 0.1.0"
  std::string base;                         // fingerprint of the base model, never empty
  std::string adapter;                      // fingerprint of the beacon tensors; empty without
  std::string tokenizer;                    // fingerprint, never empty
  std::map<std::string, std::string> rope;  // every parameter that decides the rotation, as exact text
  std::string window_options = "{}";        // a JSON object as compact text with sorted keys
  int64_t layers = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  DType dtype = DType::kF32;  // of keys and values: F32, BF16, F16 or Q8_0
  MemoryKeys keys = MemoryKeys::kRotated;
  int64_t sink_rows = 0;
  int64_t beacon_rows = 0;
  int64_t raw_rows = 0;                  // rows of the open window, its beacons included
  int64_t tokens_read = 0;               // raw tokens fed since the start; the source spans count in them
  std::string source_hash;               // SourceHash::hex() of those tokens
  std::optional<int32_t> pending_token;  // sampled last, not fed yet
  std::string title;
  std::string description;

  int64_t rows() const { return sink_rows + beacon_rows + raw_rows; }
  bool operator==(const MemoryManifest&) const = default;
};

// One entry of the manifest's list of blocks.
struct MemoryBlockEntry {
  std::string name;  // of a-z A-Z 0-9 . _ -
  DType dtype = DType::kU8;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  // from the start of the file
  uint64_t bytes = 0;
  uint64_t xxh3 = 0;  // XXH3-64 of the bytes

  bool operator==(const MemoryBlockEntry&) const = default;
};

// Whether blocks of memory files may have it: plain types, and Q8_0.
constexpr bool is_memory_dtype(DType dtype) { return !is_quantised(dtype) || dtype == DType::kQ8_0; }

// Bytes of a dense tensor; nothing where that overflows, a size is negative or rows are not whole blocks.
std::optional<uint64_t> dense_bytes(DType dtype, const std::vector<int64_t>& shape);

struct ParsedManifest {
  MemoryManifest manifest;
  std::vector<MemoryBlockEntry> blocks;
};

// The manifest as JSON text. Throws kInvalidArgument when a field is out of its bounds, a string is no UTF-8
// or window_options no JSON object: whatever is written can be read.
std::string manifest_to_json(const MemoryManifest& manifest, const std::vector<MemoryBlockEntry>& blocks);

// Reads it back. Throws kBadFile naming the field, or kUnsupported for a batch of more than one row or an
// unknown dtype. Checks each field alone; what fields must be together is checked by the file. Unknown keys
// are skipped.
ParsedManifest manifest_from_json(std::string_view text);

}  // namespace beacon
