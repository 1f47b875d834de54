#include "train/run.h"

#include <beacon/chat.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "io/file_text.h"
#include "kernels/isa.h"
#include "ops/machine_peak.h"
#include "train/checkpoint.h"
#include "train/communicator.h"
#include "train/data/token_worth.h"
#include "train/export.h"
#include "train/flops.h"
#include "train/launcher.h"
#include "train/learner.h"
#include "train/run_log.h"
#include "train/training_data.h"
#include "window/ratio.h"

namespace beacon {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Keys of the configuration that a resumed run may change: they do not touch what has been learnt so far.
bool may_change(const std::string& key) {
  for (const char* free :
       {"run", "model", "data", "valid_data", "cache", "device", "nccl", "steps", "epochs", "threads",
        "valid_every", "valid_sequences", "valid_ratios", "checkpoint_every", "keep_checkpoints"}) {
    if (key == free) return true;
  }
  return false;
}

void check_same_run(const TrainConfig& saved, const TrainConfig& wanted) {
  for (const ConfigField& field : config_fields()) {
    const std::string was = field_to_json(saved, field), is = field_to_json(wanted, field);
    require(was == is || may_change(field.key), ErrorCode::kInvalidArgument,
            "{}: the run was begun with {}, now it is {}; resume with the same, or begin another run",
            field.key, was, is);
  }
}

std::string chat_template_of(const TrainConfig& config, const Model::Impl& model) {
  if (config.chat_template == "none") return "";
  if (config.chat_template != "auto") return config.chat_template;
  return model.chat_template ? recognise_chat_template(*model.chat_template) : "";
}

OrderedJson ratios_to_json(const std::map<int, double>& by_ratio) {
  OrderedJson out = OrderedJson::object();
  for (const auto& [ratio, loss] : by_ratio) out[ratio < 0 ? "none" : std::to_string(ratio)] = loss;
  return out;
}

// 0 where nothing was scored.
double mean(double sum, double weight) { return weight > 0 ? sum / weight : 0.0; }

// Adds up over ranks: the sums of all ratios a run can meet.
LossSums over_ranks(const LossSums& own, const std::vector<int64_t>& ratios, Communicator& communicator) {
  if (communicator.size() == 1) return own;
  std::vector<double> values = {own.total, own.cross_entropy, own.divergence, own.weight};
  std::vector<int> keys = {-1};
  keys.insert(keys.end(), ratios.begin(), ratios.end());
  for (const int key : keys) {
    const auto part = own.by_ratio.find(key);
    values.push_back(part == own.by_ratio.end() ? 0.0 : part->second.cross_entropy);
    values.push_back(part == own.by_ratio.end() ? 0.0 : part->second.weight);
  }
  communicator.sum(std::span(values));
  LossSums out{values[0], values[1], values[2], values[3], {}};
  for (size_t i = 0; i < keys.size(); ++i) {
    const double weight = values[5 + 2 * i];
    if (weight > 0) out.by_ratio[keys[i]] = {values[4 + 2 * i], weight};
  }
  return out;
}

void prepare_folder(const fs::path& folder, bool resume) {
  require(resume || !fs::exists(folder / "log.jsonl"), ErrorCode::kInvalidArgument,
          "{} holds a run already: go on with --resume, or take another folder", folder.string());
  std::error_code error;
  fs::create_directories(folder, error);
  require(!error, ErrorCode::kIo, "cannot make the folder {}: {}", folder.string(), error.message());
}

class Run {
 public:
  Run(const TrainConfig& config, bool resume, const RunCallbacks& callbacks, Communicator& communicator)
      : config_(config),
        callbacks_(callbacks),
        folder_(config.run),
        communicator_(communicator),
        learner_(config, communicator_),
        data_(config, learner_.window(), learner_.model().tokenizer,
              chat_template_of(config, learner_.model()), communicator_, callbacks.on_import) {
    if (learner_.window().attention == BeaconAttention::kChosenEcho && !learner_.token_worth().defined())
      learner_.set_token_worth(train::token_worth(data_.train(), learner_.network().config().vocab_size));
    state_.ratio_stream = static_cast<uint64_t>(config.seed) ^ 0x526174696F73ULL;
    state_.cursor = data_.cursor();
    steps_ = config.steps > 0 ? config.steps : config.epochs * data_.updates_per_epoch();
    learner_.set_total_updates(steps_);
    if (resume) restore();
    state_.config = to_json(config);
    state_.data_fingerprint = data_.fingerprint();
    state_.isa = arithmetic_unit();
    state_.compute = arithmetic();
    state_.threads = learner_.model().info.threads;
    state_.ranks = communicator_.size();
    if (writes()) {
      log_.emplace(folder_ / "log.jsonl", state_.log_bytes);
      TrainConfig anywhere = config;
      resolve_paths(anywhere, fs::current_path());
      write_text(folder_ / "config.json", to_json(anywhere));
    }
    const ops::autograd::RecordingContext& context = learner_.network().context();
    peak_flops_ =
        ops::measure_gemm_peak(context.compute == at::kBFloat16, config_.device) * communicator_.size();
  }

  RunResult run() {
    begun_ = Clock::now();
    seconds_before_ = state_.seconds;
    while (state_.step < steps_) {
      if (!step()) return finish(true);
      const bool last = state_.step == steps_;
      if (due(config_.valid_every) || last) validate();
      if (due(config_.checkpoint_every) || last) save();
    }
    return finish(false);
  }

 private:
  bool writes() const { return communicator_.rank() == 0; }
  // Never that of integers, which has no way back.
  std::string arithmetic() const {
    return learner_.network().context().compute == at::kBFloat16 ? "bf16" : "f32";
  }
  std::string arithmetic_unit() const {
    return config_.device == "cpu" ? kernels::active_isa_name() : "cuda";
  }
  bool due(int64_t every) const { return every > 0 && state_.step % every == 0; }

  void note(const std::string& text) const {
    if (callbacks_.on_note && writes()) callbacks_.on_note(text);
  }

  void restore() {
    const auto file = latest_checkpoint(folder_ / "checkpoints");
    if (!file) {
      note("no checkpoint yet: beginning at the first step");
      return;
    }
    RunState saved = read_checkpoint(*file, learner_.optimizer());
    check_same_run(parse_train_config(saved.config, file->string()), config_);
    require(
        saved.data_fingerprint == data_.fingerprint(), ErrorCode::kMismatch,
        "the training data is not what the run was begun with; expected the same files in the same order");
    data_.seek(saved.cursor);
    note(fmt::format("going on after step {}", saved.step));
    const ModelInfo& info = learner_.model().info;
    const auto differs = [&](const std::string& what, const std::string& was, const std::string& is) {
      if (was != is)
        note(fmt::format("{} was {}, now {}: results will agree, but not bit for bit", what, was, is));
    };
    differs("instruction set", saved.isa, arithmetic_unit());
    differs("arithmetic", saved.compute, arithmetic());
    differs("threads", std::to_string(saved.threads), std::to_string(info.threads));
    differs("processes", std::to_string(saved.ranks), std::to_string(communicator_.size()));
    state_ = std::move(saved);
  }

  // False: interrupted; nothing of the step has happened then.
  bool step() {
    const Clock::time_point start = Clock::now();
    const uint64_t stream = state_.ratio_stream;
    LossSums sums;
    std::vector<uint64_t> seeds;
    for (int64_t i = 0; i < config_.accumulation * communicator_.size(); ++i) {
      seeds.push_back(next_uniform(state_.ratio_stream, uint64_t{1} << 63));
    }
    auto seed = seeds.begin() + communicator_.rank() * config_.accumulation;
    int64_t tokens = 0;
    const std::vector<MicroBatch> batches = data_.next();
    for (const MicroBatch& batch : batches) {
      if (stopped()) {
        learner_.discard();
        state_.ratio_stream = stream;
        return false;
      }
      sums.add(learner_.accumulate(batch, *seed++, &batch == &batches.back()));
      tokens += batch.num_sample_tokens;
    }
    const UpdateReport update = learner_.update(sums.weight);
    auto total_tokens = static_cast<double>(tokens), flops = learner_.take_flops();
    communicator_.sum(std::span(&total_tokens, 1));
    communicator_.sum(std::span(&flops, 1));
    ++state_.step;
    state_.cursor = data_.cursor();
    state_.tokens += static_cast<int64_t>(total_tokens);
    state_.seconds = seconds_before_ + seconds_since(begun_);
    report(over_ranks(sums, config_.ratios, communicator_), update,
           {total_tokens, flops, seconds_since(start)});
    return true;
  }

  // All ranks stop at the same batch.
  bool stopped() {
    double asked = callbacks_.go_on && !callbacks_.go_on() ? 1 : 0;
    communicator_.sum(std::span(&asked, 1));
    return asked > 0;
  }

  struct Cost {
    double tokens, flops, seconds;
  };

  void report(const LossSums& sums, const UpdateReport& update, const Cost& cost) {
    if (!writes()) return;
    StepRecord r;
    r.step = state_.step;
    r.steps = steps_;
    r.loss = mean(sums.total, sums.weight);
    r.next_token = mean(sums.cross_entropy, sums.weight);
    r.distillation = mean(sums.divergence, sums.weight);
    for (const auto& [ratio, part] : sums.by_ratio) {
      if (part.weight > 0) r.by_ratio[ratio] = part.cross_entropy / part.weight;
    }
    r.grad_norm = update.grad_norm;
    r.learning_rate = update.learning_rate;
    r.tokens = static_cast<int64_t>(cost.tokens);
    r.tokens_per_s = cost.tokens / cost.seconds;
    r.mfu = cost.flops / cost.seconds / peak_flops_;
    r.peak_bytes = peak_memory_bytes();
    r.seconds = state_.seconds;
    const OrderedJson line = {{"step", r.step},
                              {"loss", r.loss},
                              {"next_token", r.next_token},
                              {"distillation", r.distillation},
                              {"loss_per_ratio", ratios_to_json(r.by_ratio)},
                              {"grad_norm", r.grad_norm},
                              {"lr", r.learning_rate},
                              {"tokens", state_.tokens},
                              {"tok_s", r.tokens_per_s},
                              {"mfu", r.mfu},
                              {"peak_bytes", r.peak_bytes},
                              {"seconds", r.seconds}};
    log_->write(line.dump());
    if (callbacks_.on_step) callbacks_.on_step(r);
  }

  void validate() {
    if (config_.valid_data.empty()) return;
    ValidRecord r{.step = state_.step};
    LossSums::Part with_memory, before;
    for (const int64_t ratio : config_.valid_ratios) {
      LossSums own;
      for (int64_t i = 0; i < data_.valid_size(); ++i) {
        own.add(learner_.evaluate(data_.valid_at(i), static_cast<int>(ratio)));
      }
      const LossSums sums = over_ranks(own, {ratio}, communicator_);
      LossSums::Part part;
      for (const auto& [key, p] : sums.by_ratio) {
        LossSums::Part& to = key < 0 ? before : part;
        to.cross_entropy += p.cross_entropy;
        to.weight += p.weight;
      }
      r.by_ratio[static_cast<int>(ratio)] = mean(part.cross_entropy, part.weight);
      with_memory.cross_entropy += part.cross_entropy;
      with_memory.weight += part.weight;
    }
    r.nll = mean(with_memory.cross_entropy, with_memory.weight);
    r.first_window = mean(before.cross_entropy, before.weight);
    r.improved = !state_.best || r.nll < *state_.best;
    if (r.improved) {
      state_.best = r.nll;
      state_.best_step = state_.step;
    }
    if (!writes()) return;
    if (r.improved) export_to("adapter");
    log_->write(OrderedJson({{"valid_step", r.step},
                             {"nll", r.nll},
                             {"nll_per_ratio", ratios_to_json(r.by_ratio)},
                             {"first_window", r.first_window},
                             {"improved", r.improved}})
                    .dump());
    if (callbacks_.on_valid) callbacks_.on_valid(r);
  }

  void export_to(const char* name) const {
    OrderedJson about = {{"step", state_.step},
                         {"tokens", state_.tokens},
                         {"data", config_.data},
                         {"learning_rate", config_.learning_rate},
                         {"next_token_weight", config_.next_token_weight},
                         {"distillation_weight", config_.distillation_weight}};
    if (state_.best) about["valid_nll"] = *state_.best;
    export_adapter(folder_ / name, config_, learner_, about.dump());
  }

  void save() {
    if (!writes()) return;
    state_.log_bytes = log_->bytes();
    write_checkpoint(folder_ / "checkpoints", learner_.optimizer(), state_, config_.keep_checkpoints);
  }

  RunResult finish(bool interrupted) {
    if (interrupted) save();
    if (writes() && state_.step > 0) export_to("last");
    RunResult result{interrupted, state_.step, state_.best, folder_ / (state_.best ? "adapter" : "last")};
    return result;
  }

  TrainConfig config_;
  RunCallbacks callbacks_;
  fs::path folder_;
  Communicator& communicator_;
  Learner learner_;
  TrainingData data_;
  RunState state_;
  std::optional<RunLog> log_;
  int64_t steps_ = 0;
  double peak_flops_ = 1;
  Clock::time_point begun_;
  double seconds_before_ = 0;
};

}  // namespace

RunResult run_training(const TrainConfig& config, bool resume, const RunCallbacks& callbacks) {
  validate(config);
  const auto communicator = launched_processes();
  TrainConfig own = config;
  // Left to itself every process would take all processors, and each wait for the others'.
  if (own.threads == 0 && communicator->size() > 1) own.threads = threads_of_a_rank();
  try {
    if (communicator->rank() == 0) prepare_folder(own.run, resume);
    communicator->barrier();
    return Run(own, resume, callbacks, *communicator).run();
  } catch (const std::exception& error) {
    if (communicator->size() > 1) {
      if (callbacks.on_note)
        callbacks.on_note(fmt::format("rank {}: {}", communicator->rank(), error.what()));
      communicator->end_job();
    }
    throw;
  }
}

}  // namespace beacon
