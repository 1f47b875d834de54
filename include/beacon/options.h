#pragma once
/// \file options.h
/// Plain option structs: every field has its default, its unit and its neutral value. Unset optionals mean
/// "as the adapter says", and without an adapter the defaults named here. Options are checked once, by the
/// call they go to.
#include <beacon/error.h>
#include <beacon/export.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace beacon {

/// Arithmetic of the dense layers.
enum class ComputeType {
  kAuto,  ///< bf16 where the processor multiplies bf16 in hardware, else q15
  kF32,   ///< all of it in f32
  /// f32; products with quantised weights in integers, of activations rounded to 15 bits; where the processor
  /// has AVX2, attention of more than 8 rows in integers as well, rounded to 13 bits (heads of 64)
  kQ15,
  kBF16,  ///< bf16; of few rows with quantised weights as kQ15
};

/// Element type of the keys and values in memory.
enum class MemoryType {
  kAuto,  ///< the compute type
  kF32,
  kBF16,
  kQ8_0,  ///< blocks of 32 8-bit integers with an f16 scale (8.5 bits a number); heads of a multiple of 32
};

/// Overrides of a model's rotary position embedding, to extend its window (study section 1.11).
struct RopeOverride {
  std::optional<std::string>
      scaling;  ///< none, linear, dynamic, yarn, llama3 or ntk (a fixed NTK-aware base)
  std::optional<double>
      factor;  ///< positions the model may reach, as a multiple of what it was trained on; > 0
  std::optional<double> theta;  ///< base of the rotation; > 0
};

/// What Model::load needs.
struct ModelOptions {
  std::filesystem::path model;                   ///< Hugging Face folder or GGUF file
  std::optional<std::filesystem::path> adapter;  ///< folder with the beacon tensors and beacon_config.json
  ComputeType compute = ComputeType::kAuto;
  /// Where the network runs and memories are: cpu, cuda (the first GPU) or cuda:N. The first model on a GPU
  /// must be loaded before anything else in the process uses torch.
  std::string device = "cpu";
  int threads = 0;  ///< threads of the dense layers and kernels, for the whole process; 0 = all cores
  RopeOverride rope;
  /// Bias added to the attention scores of beacon keys in every head when the adapter holds no gate of its
  /// own. Unset: none, as in the paper, when an adapter or the checkpoint configures beacons; -4 without any,
  /// because beacons that nobody trained do harm and so are nearly silent, but for echoes. 0 adds nothing.
  std::optional<float> beacon_gate;
};

/// How a text is condensed. Integers are tokens.
struct BeaconOptions {
  bool enabled = true;  ///< false: a plain model, every token stays raw
  std::optional<int64_t>
      window;  ///< raw tokens condensed together; default 1024, in a small model a quarter of its positions
  std::optional<int64_t>
      stride;  ///< raw tokens let go when a window is full; default 512, or the window when that is less
  /// Raw tokens per beacon. One value: always that. Several: chosen by ratio_mix. 0 keeps tokens raw. Empty:
  /// as the adapter says, without one {0, 2, 4, 8, 16, 32, 64, 128} with adapt-1024: the
  /// text stays raw when the model itself holds it and 1024 tokens more.
  std::vector<int64_t> ratios;
  std::optional<std::string> ratio_mix;  ///< step-random, instance-random, sequence or adapt-N
  std::optional<int64_t> sink;  ///< first tokens kept for ever; default 1 when stride < window, else 0
  std::optional<std::string> placement;  ///< interleave or append; default interleave
  std::optional<std::string>
      attention;                    ///< full-coverage, step-expansion, segmentation, echo or
                                    ///< chosen-echo (needs an adapter that has the worth of tokens); default
                                    ///< echo, or full-coverage with append or several parallel windows
  std::optional<bool> attend_prev;  ///< beacons see earlier beacons of their window; default true
  std::optional<int64_t> parallel_windows;  ///< full windows read in one forward; default 1
  std::optional<int64_t> skip_first;        ///< first tokens that are never condensed; default 0
  std::optional<int64_t> skip_last;         ///< tokens from this index on stay raw; default: none
  int64_t expected_tokens = 0;  ///< length of the text to come, for adapt-N; 0 = the length of the first feed
  bool beyond_positions = false;  ///< go on past the positions the base was trained on (speed tests only)
  uint64_t seed = 42;             ///< of the random ratio policies
};

/// What a Session needs besides its model.
struct SessionOptions {
  BeaconOptions beacons;
  MemoryType memory_type = MemoryType::kAuto;
};

}  // namespace beacon
