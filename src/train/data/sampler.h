#pragma once
// In which order samples are learnt from.
#include <cstdint>
#include <vector>

#include "train/data/dataset.h"
#include "window/options.h"

namespace beacon::train {

// Which samples may share an optimiser step.
enum class Grouping {
  kNone,
  kStrides,  // those that are cut into equally many windows
  kLength,   // those of equal length, which can be rows of one batch
};

// "none", "strides", "length". Throws kInvalidArgument naming the choices.
Grouping grouping_from_string(const std::string& name);

struct SamplerOptions {
  uint64_t seed = 42;
  Grouping grouping = Grouping::kNone;
  WindowOptions window;  // for kStrides
  int64_t step_samples =
      1;             // of an optimiser step, all ranks and all accumulation together; a multiple of num_ranks
  int64_t rank = 0;  // 0 .. num_ranks - 1
  int64_t num_ranks = 1;
};

// Where a sampler stands; plain integers, for checkpoints.
struct SamplerCursor {
  int64_t epoch = 0;
  int64_t step = 0;  // optimiser steps taken in this epoch
  bool operator==(const SamplerCursor&) const = default;
};

// Hands out the samples of one optimiser step after the other. An epoch holds every sample of a part as often
// as the part's weight says (a fraction is drawn anew in every epoch), in an order that depends on seed and
// epoch alone, so that a restored sampler goes on exactly, and so that N ranks with one sample each take the
// same steps as one rank with N samples. Samples that do not fill a step (with grouping: one for each group)
// are left out of the epoch.
//
// Belongs to one thread; the dataset must outlive it and not change.
class Sampler {
 public:
  // Throws kInvalidArgument for numbers that contradict each other or when an epoch would hold no step.
  Sampler(const Dataset& dataset, const SamplerOptions& options);

  // This rank's samples of the next step, step_samples / num_ranks indexes into the dataset; goes on to the
  // next epoch by itself.
  std::vector<int64_t> next();

  // Optimiser steps and samples left out of the present epoch.
  int64_t steps_per_epoch() const { return static_cast<int64_t>(order_.size()) / options_.step_samples; }
  int64_t left_out() const { return left_out_; }

  SamplerCursor cursor() const { return cursor_; }
  // Throws kMismatch when there is no such step: the data or the options are others.
  void restore(const SamplerCursor& cursor);

 private:
  std::vector<int64_t> epoch_samples(int64_t epoch) const;
  int64_t group_of(int64_t index) const;
  void begin_epoch(int64_t epoch);

  const Dataset& dataset_;
  SamplerOptions options_;
  SamplerCursor cursor_;
  std::vector<int64_t> order_;  // of the present epoch, whole steps only
  int64_t left_out_ = 0;
};

}  // namespace beacon::train
