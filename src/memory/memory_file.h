#pragma once
// Memory files: the container. A 64-byte header, a JSON manifest, then named binary blocks at multiples of 64
// bytes, everything checksummed with XXH3-64. The bytes are described in docs/memory_format.md. No torch.
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/tensor_view.h"
#include "memory/memory_manifest.h"

namespace beacon {

class MappedFile;

inline constexpr uint32_t kMemoryFormatVersion = 1;

// Names of the blocks. R = sink + beacon + raw rows, in this order.
namespace memory_block {
inline constexpr std::string_view kSpans =
    "beacon.spans";  // I64 [beacon_rows, 2]: raw tokens [begin, end) of a beacon
inline constexpr std::string_view kTokens = "window.tokens";  // I32 [n]: raw tokens of the open window
inline constexpr std::string_view kRatios = "window.ratios";  // I32 [n]: ratio of each window so far
inline constexpr std::string_view kPlanner = "planner";       // U8 [n]: the planner's own state
inline constexpr std::string_view kSampler = "sampler";       // U8 [n]: Sampler::state(); may be absent
std::string keys(int64_t layer);                              // [kv_heads, R, head_dim], manifest dtype
std::string values(int64_t layer);                            // [kv_heads, R, head_dim], manifest dtype
// Keys of the open window before RoPE, [kv_heads, raw_rows, head_dim], manifest dtype or F32; only with
// kRotated.
std::string keys_before_rope(int64_t layer);
}  // namespace memory_block

enum class MemoryVerify {
  kChecksums,  // everything, every byte of the file
  kStructure,  // all but the checksums of the blocks: reads the head of the file only, for a quick look
};

// An opened, fully checked memory file. Immutable, so it may be shared by threads. Views belong to the
// mapping (or, for parse(), to the caller's bytes) and must not outlive it. The file must not be truncated
// while it is open: replacing it by a rename, as MemoryFileWriter does, is safe.
class MemoryFile {
 public:
  // Throws kNotFound, kIo, kBadFile (with what is wrong and, where it applies, the block) or kUnsupported (a
  // newer version, flags we do not know). Allocates in proportion to the manifest, which is at most 4 MiB.
  static std::shared_ptr<const MemoryFile> open(const std::filesystem::path& path,
                                                MemoryVerify verify = MemoryVerify::kChecksums);
  static std::shared_ptr<const MemoryFile> parse(std::span<const std::byte> bytes,
                                                 MemoryVerify verify = MemoryVerify::kChecksums);
  ~MemoryFile();

  const MemoryManifest& manifest() const { return manifest_; }
  uint32_t format_version() const { return kMemoryFormatVersion; }
  uint64_t file_bytes() const { return file_bytes_; }

  // In file order. Data starts at a multiple of 64 bytes of the file.
  const std::vector<TensorView>& blocks() const { return blocks_; }
  const TensorView& block(std::string_view name) const;  // throws kNotFound
  const TensorView* find_block(std::string_view name) const;

  // Says that a block has been copied and will not soon be read again: it need not take memory any longer.
  void let_go(const TensorView& block) const;

  // Small blocks as integers.
  std::vector<int64_t> source_spans() const;  // [beacon_rows * 2]
  std::vector<int32_t> window_tokens() const;
  std::vector<int32_t> window_ratios() const;

 private:
  MemoryFile();
  std::shared_ptr<const MappedFile> mapping_;  // null when parsed from bytes
  uint64_t file_bytes_ = 0;
  MemoryManifest manifest_;
  std::vector<TensorView> blocks_;
  std::unordered_map<std::string_view, size_t> index_;  // keys point into blocks_
};

// Collects blocks, then writes the file in one go. Nothing is copied: the bytes given to add_block must stay
// as they are until the last write.
class MemoryFileWriter {
 public:
  using Bytes = std::span<const std::byte>;

  // The block's bytes are the pieces joined (a tensor kept in several allocations). Throws kInvalidArgument
  // when they are not what dtype and shape take.
  void add_block(std::string name, DType dtype, std::vector<int64_t> shape, std::vector<Bytes> pieces);
  void add_block(std::string name, DType dtype, std::vector<int64_t> shape, Bytes bytes) {
    add_block(std::move(name), dtype, std::move(shape), std::vector<Bytes>{bytes});
  }

  // Writes a temporary file, syncs it and renames it over path: until then the old file stays. Throws
  // kInvalidArgument when manifest and blocks do not belong together (a file that is written can be read) and
  // kIo.
  void write_file(const std::filesystem::path& path, const MemoryManifest& manifest) const;

  // The same bytes, handed to sink piece by piece.
  void write(const MemoryManifest& manifest, const std::function<void(Bytes)>& sink) const;

 private:
  struct Block {
    MemoryBlockEntry entry;
    std::vector<Bytes> pieces;
  };
  std::vector<Block> blocks_;
};

}  // namespace beacon
