#pragma once
// Where training data comes from.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "train/data/token_cache.h"

namespace beacon::train {

// One file or folder of a mix.
struct DataSource {
  std::filesystem::path path;  // .jsonl file, text file, or a folder of .jsonl and .txt files
  int64_t limit = 0;           // at most so many samples, drawn once by the seed; 0 = all
  double weight = 1;           // how often each sample comes in an epoch; 0.5: a half, drawn anew every epoch
};

// "path", "path[5000]" (limit), "path*2.5" (weight) or "path[5000]*2.5". Throws kInvalidArgument.
DataSource parse_source(const std::string& text);

// Bytes of the source read and to read.
using ImportProgress = std::function<bool(uint64_t done, uint64_t total)>;

// The tokens of a source: from the cache in `folder` when it was made of the same bytes by the same encoder,
// else made and kept there. A line or file that cannot be used is left out, counted and named in the header
// (and the log, each time). Folders are read in the order of names, not deeper. Throws kNotFound, kIo;
// kBadFile when nothing usable is left; kCancelled when `progress` says stop, and nothing is kept then.
std::shared_ptr<const TokenCache> import_source(const DataSource& source, const Encoder& encoder,
                                                const std::filesystem::path& folder,
                                                const ImportProgress& progress = {});

}  // namespace beacon::train
