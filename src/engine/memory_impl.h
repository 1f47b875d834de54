#pragma once
// What a Memory holds.
#include <beacon/memory.h>

#include <optional>
#include <string>
#include <vector>

#include "engine/model_impl.h"
#include "engine/reader.h"
#include "memory/source_hash.h"

namespace beacon {

struct BEACON_LOCAL Memory::Impl {
  Impl(std::shared_ptr<const Model> of, const WindowOptions& options, at::ScalarType type);

  std::shared_ptr<const Model> model;
  ReadState state;
  SourceHash hash;                                // over every token fed
  std::vector<int32_t> recent;                    // the youngest tokens fed, at most kRecentTokens
  std::optional<int32_t> pending;                 // sampled last, not fed yet
  std::optional<std::vector<std::byte>> sampler;  // generator state of the generation that was going on
  uint64_t sampler_seed = 0;                      // it was started with; another seed starts afresh
  at::Tensor last_hidden;  // f32 [1, D] of the last token fed; undefined before the first
  std::string title;
  bool beyond_positions = false;

  std::unique_ptr<Impl> clone() const;
  const WindowOptions& options() const { return state.planner.options(); }
  Ledger ledger() const;

  // Remembered for repetition penalties and for the open window of a memory file.
  static constexpr size_t kRecentTokens = 1 << 16;
  void remember(std::span<const int32_t> ids);
};

// The geometry of a model's memory.
KvGeometry kv_geometry(const Model::Impl& model, const WindowOptions& options, at::ScalarType type);
at::ScalarType memory_scalar(MemoryType type, const Model::Impl& model);

// Throws kCapacity when `positions` are more than the model was trained on; `advice` is put behind.
void check_positions(int64_t positions, int64_t max_positions, const std::string& advice);

}  // namespace beacon
