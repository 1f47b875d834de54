// The list of keys: one line each, from which parsing, help, printing and saving follow.
#include "io/lora.h"
#include "train/config.h"

namespace beacon {

const std::vector<ConfigField>& config_fields() {
  using C = TrainConfig;
  constexpr double kMany = 1e15;
  static const std::vector<ConfigField> fields = {
      {"model", &C::model, "Base model: Hugging Face folder or GGUF file"},
      {"adapter", &C::adapter, "Adapter to start from; empty = copies of the base"},
      {"run", &C::run, "Folder of the run: log, checkpoints, adapter"},
      {"data", &C::data, "Training data: files or folders, as PATH, PATH[LIMIT] or PATH*WEIGHT"},
      {"valid_data", &C::valid_data, "Validation data; empty = no validation"},
      {"cache", &C::cache, "Folder of tokenised data; empty = inside the run"},
      {"chat_template", &C::chat_template,
       "Template of conversations; auto = the model's, none = no conversations"},
      {"min_length", &C::min_length, "Tokens of a sample at least", 2, kMany},
      {"max_length", &C::max_length, "Tokens of a sample at most", 2, kMany},
      {"long_text", &C::long_text, "Texts above max_length: cut, truncate or drop"},
      {"long_dialogue", &C::long_dialogue, "Conversations above max_length: drop or shorten"},
      {"pack", &C::pack, "Put texts one after the other and cut them every max_length tokens"},
      {"grouping", &C::grouping,
       "Samples of an update: none, strides (equally many windows; needed for batch > 1 of unequal lengths) "
       "or length"},
      {"window", &C::window, "Raw tokens condensed together", 1, kMany},
      {"stride", &C::stride, "Raw tokens let go when a window is full", 1, kMany},
      {"sink", &C::sink, "First tokens kept for ever", 0, kMany},
      {"placement", &C::placement, "Where beacons stand: interleave or append"},
      {"attention", &C::attention,
       "What a beacon sees of its window: full-coverage, step-expansion or segmentation"},
      {"attend_prev", &C::attend_prev, "Beacons see earlier beacons of their window"},
      {"ratios", &C::ratios, "Raw tokens per beacon, to draw from; 0 keeps a window raw", 0, 1 << 20},
      {"ratio_weights", &C::ratio_weights, "How often each ratio is drawn, as integers; empty = equally", 1,
       1000},
      {"ratio_mix", &C::ratio_mix,
       "When a ratio is drawn: step-random (every window), instance-random (every sample) or sequence"},
      {"parameters", &C::parameters, "Projections that beacons have of their own: q, k, v, o, mlp"},
      {"gate", &C::gate, "Beacon gate at the start: a bias on the scores of beacon keys; none = no gate",
       -1000, 1000},
      {"embed_init", &C::embed_init, "Row the beacon embedding starts from: eos or bos"},
      {"lora_rank", &C::lora_rank, "Rank of LoRA on the base's projections; 0 = none, the base stays frozen",
       0, kMaxLoraRank},
      {"lora_alpha", &C::lora_alpha, "LoRA is added times lora_alpha / lora_rank", 0, 1e9},
      {"lora_targets", &C::lora_targets, "Projections of the base that get LoRA: q, k, v, o"},
      {"next_token_weight", &C::next_token_weight, "Weight of the next-token loss", 0, kMany},
      {"distillation_weight", &C::distillation_weight, "Weight of KL to the base reading everything", 0,
       kMany},
      {"truncate_windows", &C::truncate_windows, "Gradients reach back so many steps; 0 = all", 0, kMany},
      {"recompute", &C::recompute, "Run each window twice instead of keeping its activations"},
      {"steps", &C::steps, "Updates in all; 0 = as many as the epochs have", 0, kMany},
      {"epochs", &C::epochs, "Passes over the data; counts when steps is 0", 1, kMany},
      {"batch", &C::batch, "Samples read side by side", 1, 4096},
      {"accumulation", &C::accumulation, "Batches summed up for an update", 1, kMany},
      {"learning_rate", &C::learning_rate, "Learning rate after the warm-up", 0, kMany},
      {"gate_rate", &C::gate_rate, "Learning rate of gates, as a multiple", 0, kMany},
      {"embedding_rate", &C::embedding_rate, "Learning rate of the beacon embedding, as a multiple", 0,
       kMany},
      {"lora_rate", &C::lora_rate, "Learning rate of LoRA, as a multiple", 0, kMany},
      {"schedule", &C::schedule, "Course of the learning rate: constant, linear or cosine"},
      {"warmup", &C::warmup, "Updates over which the learning rate rises", 0, kMany},
      {"floor", &C::floor, "Learning rate at the end, as a share", 0, 1},
      {"weight_decay", &C::weight_decay, "Decoupled weight decay of matrices", 0, kMany},
      {"beta1", &C::beta1, "AdamW", 0, 1},
      {"beta2", &C::beta2, "AdamW", 0, 1},
      {"epsilon", &C::epsilon, "AdamW", 0, 1},
      {"clip", &C::clip, "Largest norm of the gradient; 0 = no limit", 0, kMany},
      {"valid_every", &C::valid_every, "Updates between validations; 0 = only at the end", 0, kMany},
      {"valid_sequences", &C::valid_sequences, "Samples of a validation; 0 = all", 0, kMany},
      {"valid_ratios", &C::valid_ratios, "Ratios of the validation, one after the other", 0, 1 << 20},
      {"checkpoint_every", &C::checkpoint_every, "Updates between checkpoints; 0 = only at the end", 0,
       kMany},
      {"keep_checkpoints", &C::keep_checkpoints, "Checkpoints kept, the youngest", 1, kMany},
      {"compute", &C::compute, "Arithmetic of activations: auto, f32 or bf16"},
      {"recording", &C::recording, "Operations: fused, or plain (slow, for comparison)"},
      {"threads", &C::threads, "Threads; 0 = all cores", 0, 1024},
      {"seed", &C::seed, "Seed of data order, ratios and LoRA", 0, kMany},
  };
  return fields;
}

}  // namespace beacon
