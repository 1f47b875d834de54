#pragma once
/// \file memory.h
/// What a conversation remembers: [sink | beacons | raw] keys and values of every layer, and how they came to
/// be.
#include <beacon/model.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace beacon {

/// Where the bytes are and what was condensed into what. Rows are keys/values per layer and head.
struct Ledger {
  int64_t tokens_read = 0;  ///< raw tokens fed so far
  int64_t sink_rows = 0;    ///< first tokens kept for ever
  int64_t beacon_rows = 0;  ///< beacons in memory
  int64_t raw_rows = 0;     ///< rows of the open window: youngest raw tokens and the beacons among them
  int64_t sink_bytes = 0;
  int64_t beacon_bytes = 0;
  int64_t raw_bytes = 0;
  int64_t weight_bytes = 0;     ///< of the model
  int64_t positions = 0;        ///< positions in use: sink + beacons + raw
  int64_t max_positions = 0;    ///< positions the model was trained on, times the rope factor
  std::vector<int64_t> ratios;  ///< ratio of each window or block so far; 0 = kept raw

  /// Tokens condensed away per beacon, over the whole text (1 when nothing was condensed).
  BEACON_API double mean_ratio() const;
};

/// The state one conversation builds up. Copied only by clone(), whose cost is the size of the memory. Not
/// thread-safe.
class BEACON_API Memory {
 public:
  /// Reads a file written by save(). Everything is checked first: a wrong model, adapter or rope is
  /// kMismatch, a broken file kBadFile, a newer format kUnsupported.
  static Memory load(const std::filesystem::path& path, std::shared_ptr<const Model> model);

  /// Memories of several documents as one, in order: the first one's sink, then each one's beacons and
  /// open-window rows; positions are re-assigned, and only the last window stays open. Keys are rotated by
  /// the difference, rounded once.
  static Memory join(const std::vector<const Memory*>& parts, bool beyond_positions = false);

  /// The part that covers source tokens [from, to): the sink, the blocks that touch the range, and the open
  /// window when the range reaches it.
  Memory cut(int64_t from, int64_t to) const;

  /// Writes the file beside `path`, syncs and renames: an older file survives any failure (kIo).
  void save(const std::filesystem::path& path, const std::string& title = {}) const;

  Memory clone() const;
  Ledger ledger() const;
  /// Source tokens [first, second) that each beacon row condensed, in order of the rows.
  std::vector<std::pair<int64_t, int64_t>> beacon_spans() const;
  std::string title() const;
  /// xxh3-128 chain over all token ids fed, in hexadecimal: equal texts have equal hashes, however they were
  /// fed.
  std::string source_hash() const;

  Memory(Memory&&) noexcept;
  Memory& operator=(Memory&&) noexcept;
  ~Memory();

  struct Impl;
  explicit Memory(std::unique_ptr<Impl> impl);
  Impl& impl() const { return *impl_; }  ///< for the library itself

 private:
  std::unique_ptr<Impl> impl_;
};

/// What a memory file says about itself, without a model; checks the checksums when `verify` is set.
struct MemoryFileInfo {
  int format_version = 0;
  std::string title;
  std::string base_fingerprint, adapter_fingerprint, tokenizer_fingerprint;
  std::string source_hash;
  std::string rope;
  std::string options_json;  ///< how the text was condensed
  std::string memory_type;   ///< f32, bf16 or q8_0
  int64_t file_bytes = 0;
  int64_t layers = 0, kv_heads = 0, head_dim = 0;
  Ledger ledger;  ///< without model fields
};
BEACON_API MemoryFileInfo inspect_memory_file(const std::filesystem::path& path, bool verify = true);

}  // namespace beacon
