#pragma once
// Everything a run needs to go on with the same bits, in one safetensors file: masters, both moments, and the
// integers of the run.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "train/optimizer.h"

namespace beacon {

// What is not a tensor.
struct RunState {
  int64_t step = 0;             // updates done
  uint64_t ratio_stream = 0;    // state of the generator of ratio seeds
  std::vector<int64_t> cursor;  // of the data
  int64_t log_bytes = 0;        // length of the log
  int64_t tokens = 0;           // read so far, by all ranks
  std::optional<double> best;   // best validation so far
  int64_t best_step = 0;
  double seconds = 0;  // spent so far
  std::string config;  // JSON, see config.h
  uint64_t data_fingerprint = 0;
  // What the bits depend on besides: shown when a resumed run differs.
  std::string isa;
  std::string compute;
  int64_t threads = 0;
  int64_t ranks = 1;

  bool operator==(const RunState&) const = default;
};

// Writes `folder`/step-NNNNNNNN.safetensors atomically, then removes all but the `keep` youngest. Throws kIo;
// older checkpoints are untouched then.
void write_checkpoint(const std::filesystem::path& folder, const AdamW& optimizer, const RunState& state,
                      int64_t keep);

// The youngest checkpoint of a folder, if there is one.
std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& folder);

// Puts the tensors of a checkpoint into parameters and optimiser. Throws kBadFile, or kMismatch naming a
// tensor that is missing or of another shape; nothing has been changed then.
RunState read_checkpoint(const std::filesystem::path& file, AdamW& optimizer);

}  // namespace beacon
