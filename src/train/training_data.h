#pragma once
// The data of a run: what is learnt in which order, and what it is validated on.
#include <beacon/tokenizer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "train/communicator.h"
#include "train/config.h"
#include "train/data/dataset.h"
#include "train/data/sampler.h"
#include "train/micro_batch.h"

namespace beacon {

// Belongs to one thread.
class TrainingData {
 public:
  // Imports all data, on rank 0 first so that the others find its caches. Throws as train::Dataset.
  TrainingData(const TrainConfig& config, const WindowOptions& window,
               std::shared_ptr<const Tokenizer> tokenizer, const std::string& chat_template,
               Communicator& communicator, const train::ImportProgress& progress);

  // This rank's batches of the next update, `accumulation` of them.
  std::vector<MicroBatch> next();
  int64_t updates_per_epoch() const { return sampler_->steps_per_epoch(); }
  std::vector<int64_t> cursor() const;
  // Throws kMismatch when the data has no such place.
  void seek(const std::vector<int64_t>& cursor);

  // This rank's share of the validation samples, one a batch. The same ones every time.
  int64_t valid_size() const;
  MicroBatch valid_at(int64_t index) const;

  const train::Dataset& train() const { return *train_; }
  uint64_t fingerprint() const { return train_->fingerprint(); }

 private:
  int64_t batch_;
  double read_weight_;
  WindowOptions window_;
  std::unique_ptr<train::Dataset> train_, valid_;
  std::unique_ptr<train::Sampler> sampler_;
  std::vector<int64_t> valid_samples_;
};

}  // namespace beacon
