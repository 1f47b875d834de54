#pragma once
// What a training run is made of: the keys of its JSON file, which are also the options of `beacon train`.
// Needs neither torch nor JSON to include.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace beacon {

// Every field is a key of the same name; its description, range and default stand in config_fields().
struct TrainConfig {
  std::string model;
  std::string adapter;
  std::string run;

  std::vector<std::string> data;
  std::vector<std::string> valid_data;
  std::string cache;
  std::string chat_template = "auto";
  int64_t min_length = 512;
  int64_t max_length = 3072;
  std::string long_text = "cut";
  std::string long_dialogue = "drop";
  bool pack = false;
  std::string grouping = "none";

  int64_t window = 1024;
  int64_t stride = 512;
  int64_t sink = 1;
  std::string placement = "interleave";
  std::string attention = "full-coverage";
  bool attend_prev = true;
  std::vector<int64_t> ratios = {2, 4, 8, 16, 32};
  std::vector<int64_t> ratio_weights;
  std::string ratio_mix = "step-random";
  std::vector<std::string> parameters = {"q", "k", "v"};
  std::optional<double> gate;
  bool reset_gate = false;
  std::string embed_init = "eos";
  int64_t lora_rank = 0;
  double lora_alpha = 16;
  std::vector<std::string> lora_targets = {"q", "k", "v", "o"};

  double next_token_weight = 1.0;
  double distillation_weight = 0.0;
  double read_weight = 0.0;
  int64_t truncate_windows = 0;
  bool recompute = true;

  int64_t steps = 0;
  int64_t epochs = 1;
  int64_t batch = 1;
  int64_t accumulation = 1;
  double learning_rate = 1e-3;
  double gate_rate = 1.0;
  double embedding_rate = 1.0;
  double lora_rate = 1.0;
  std::string schedule = "cosine";
  int64_t warmup = 0;
  double floor = 0.0;
  double weight_decay = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double clip = 1.0;

  int64_t valid_every = 100;
  int64_t valid_sequences = 8;
  std::vector<int64_t> valid_ratios = {8};
  int64_t checkpoint_every = 100;
  int64_t keep_checkpoints = 2;

  std::string device = "cpu";
  std::string compute = "auto";
  std::string recording = "fused";
  bool deterministic = true;
  bool nccl = false;
  int64_t threads = 0;
  int64_t seed = 42;

  bool operator==(const TrainConfig&) const = default;
};

struct ConfigField {
  using Member = std::variant<int64_t TrainConfig::*, double TrainConfig::*, bool TrainConfig::*,
                              std::string TrainConfig::*, std::vector<int64_t> TrainConfig::*,
                              std::vector<std::string> TrainConfig::*, std::optional<double> TrainConfig::*>;
  const char* key;
  Member member;
  const char* description;
  double low = 0;  // of numbers
  double high = 0;
};

// All keys, in the order in which they are shown.
const std::vector<ConfigField>& config_fields();

// From the text of a JSON object. Paths in it are relative to the folder of the file. Throws kBadFile naming
// `what` and the key for a key that is not known or a value of another type or range.
TrainConfig parse_train_config(const std::string& json, const std::string& what);
// Reads the file.
TrainConfig load_train_config(const std::filesystem::path& file);

// Makes relative paths mean the same from anywhere: they lie under `folder`.
void resolve_paths(TrainConfig& config, const std::filesystem::path& folder);

// Sets one field from the text of an option: lists between commas, true or false, "none". Throws
// kInvalidArgument.
void set_field(TrainConfig& config, const ConfigField& field, const std::string& text);

// The text of a JSON object that parses back to an equal configuration.
std::string to_json(const TrainConfig& config);

// The value of one field, as in to_json().
std::string field_to_json(const TrainConfig& config, const ConfigField& field);

// Throws kInvalidArgument naming the first contradiction. Window options are checked by the planner.
void validate(const TrainConfig& config);

}  // namespace beacon
