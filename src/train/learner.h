#pragma once
// One model being trained: gradients of batches, updates, and what an update costs.
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/model_impl.h"
#include "model/recorded_forward.h"
#include "train/communicator.h"
#include "train/config.h"
#include "train/gradient_sums.h"
#include "train/micro_batch.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/sequence_loss.h"
#include "window/options.h"

namespace beacon {

// The plan's options of a run, checked: for training, with the ratios repeated by their weights.
// Throws kInvalidArgument naming the contradiction.
WindowOptions training_window(const TrainConfig& config);

// LoRA as the configuration asks for it; nothing when lora_rank is 0.
std::optional<LoraConfig> trained_lora(const TrainConfig& config);

struct UpdateReport {
  double grad_norm = 0.0;  // before clipping, of the mean loss
  double learning_rate = 0.0;
};

// Belongs to one thread. Gradients of all batches since the last update are summed, and divided by the number
// of their labels once, in update().
class Learner {
 public:
  // Loads model and adapter of the configuration. Every rank does. The learning rate falls over
  // set_total_updates(). Throws kInvalidArgument when the adapter has LoRA that the configuration does not go
  // on with.
  Learner(const TrainConfig& config, Communicator& communicator);
  ~Learner();

  // Adds the gradients of a batch; `seed` is of its ratios. In the `last` one of an update each gradient is
  // summed over ranks from when it is complete.
  LossSums accumulate(const MicroBatch& batch, uint64_t seed, bool last = false);
  // Sums gradients and `weight` (of the labels) over ranks, clips, takes a step.
  UpdateReport update(double weight);
  void set_total_updates(int64_t total) { schedule_.total = total; }
  // Drops what was accumulated.
  void discard() { optimizer_->clear_gradients(); }

  // The losses alone, every window condensed at `ratio`, without distillation.
  LossSums evaluate(const MicroBatch& batch, int ratio) const;

  // Floating-point operations since the last call: products and attention, forward and backward, without what
  // recomputation repeats.
  double take_flops();

  const Model::Impl& model() const { return *model_; }
  const RecordedNetwork& network() const { return *network_; }
  const WindowOptions& window() const { return window_; }
  // f32 [V], that of the adapter to start from; undefined: it has none. Chosen echoes need one before the
  // first batch; it is not trained.
  const at::Tensor& token_worth() const { return token_worth_; }
  void set_token_worth(const std::vector<float>& worth);
  AdamW& optimizer() { return *optimizer_; }
  const AdamW& optimizer() const { return *optimizer_; }

 private:
  BeaconParameters initial_parameters() const;
  std::unique_ptr<NcclSums> open_nccl() const;
  at::ScalarType compute_type() const;
  void check_same_rule() const;
  void start_from_bos(const at::Tensor& embed) const;
  at::Tensor teacher_of(const MicroBatch& batch);
  std::vector<float> worth_of(const MicroBatch& batch) const;

  TrainConfig config_;
  Communicator& communicator_;
  at::Device device_;
  std::unique_ptr<Model::Impl> model_;
  std::unique_ptr<RecordedNetwork> network_;
  std::unique_ptr<RecordedNetwork> teacher_;  // the same base without LoRA
  std::unique_ptr<AdamW> optimizer_;
  std::unique_ptr<GradientSums> gradient_sums_;
  WindowOptions window_;
  at::Tensor token_worth_;
  Schedule schedule_;
  double flops_ = 0.0;
};

}  // namespace beacon
