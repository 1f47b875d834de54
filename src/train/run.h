#pragma once
// A training run in a folder: config.json, log.jsonl, checkpoints/, adapter/ (the best so far) and last/.
// Needs neither torch nor JSON to include.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "train/config.h"

namespace beacon {

// One update; losses are means over the scored tokens of all ranks, in nats.
struct StepRecord {
  int64_t step = 0;  // updates done, this one included
  int64_t steps = 0;
  double loss = 0;  // what is minimised
  double next_token = 0;
  double distillation = 0;
  std::map<int, double> by_ratio;  // next-token loss by ratio of the youngest window in memory; -1: none yet
  double grad_norm = 0;
  double learning_rate = 0;
  int64_t tokens = 0;       // of this update
  double tokens_per_s = 0;  // of this update, all ranks
  double mfu = 0;           // of the measured rate of one large product
  int64_t peak_bytes = 0;
  double seconds = 0;  // of the whole run
};

struct ValidRecord {
  int64_t step = 0;
  double nll = 0;                  // over all validation ratios: tokens read over memory
  std::map<int, double> by_ratio;  // the same for each validation ratio
  double first_window = 0;         // tokens before there is any memory
  bool improved = false;
};

struct RunCallbacks {
  // Asked between batches; false ends the run with a checkpoint.
  std::function<bool()> go_on;
  std::function<void(const StepRecord&)> on_step;
  std::function<void(const ValidRecord&)> on_valid;
  // Bytes of a data source read and to read, while it is tokenised for the first time; false ends the run.
  std::function<bool(uint64_t done, uint64_t total)> on_import;
  // What the user should know: where a resumed run goes on, what differs.
  std::function<void(const std::string&)> on_note;
};

struct RunResult {
  bool interrupted = false;
  int64_t steps = 0;
  std::optional<double> best;     // best validation
  std::filesystem::path adapter;  // the best one, without validation the last
};

// Trains until the configured number of updates. `resume`: goes on at the youngest checkpoint of the folder
// (from the start when there is none); the same configuration, data, machine, instruction set and number of
// threads give the same bits as a run that was never interrupted. Under mpirun every rank calls it; only rank
// 0 writes. Throws Error: kInvalidArgument when the folder holds a run already and resume is not set, or the
// configuration differs from the run's; kMismatch when the data does.
RunResult run_training(const TrainConfig& config, bool resume, const RunCallbacks& callbacks);

}  // namespace beacon
