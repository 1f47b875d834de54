#pragma once
// Conversions between formats of checkpoints. Each writes into new or empty folders, file by file, each
// atomically, with the configuration last: a folder without config.json (beacon_config.json) is not complete.
#include <filesystem>

#include "base/dtype.h"

namespace beacon {

// Splits a merged checkpoint (base and beacon tensors in one Hugging Face folder, as the original publishes
// them) into a base folder and an adapter folder. Shards keep their names and their base tensors; tokenizer
// and other small files are copied; the configuration keys of the beacon move to beacon_config.json, verbatim
// under "merged" with their places, prefix and shards. Throws kInvalidArgument when there is nothing to split
// or an output folder is not empty, or as Checkpoint::open().
void split_merged(const std::filesystem::path& checkpoint, const std::filesystem::path& out_base,
                  const std::filesystem::path& out_adapter);

// The inverse: merging what split_merged() wrote gives the same tensors bit for bit, in the same shards, and
// the same configuration in the same order. An adapter without "merged" goes into the first shard with
// beacon_ keys. LoRA is added to the weights it changes, rounded to their element type: the result is another
// base, from which it cannot be split again. The base is a Hugging Face folder. Throws kMismatch when it
// already has beacon keys or a tensor's shape does not fit, kUnsupported when LoRA meets weights that are not
// F32, BF16 or F16; warns through the log when the adapter names another base.
void merge(const std::filesystem::path& base, const std::filesystem::path& adapter,
           const std::filesystem::path& out);

// Writes the tensors of a GGUF file dequantised, under Hugging Face names with the rows of q and k in their
// order, as model.safetensors of element type kF32, kBF16 or kF16 (rounded to nearest even), and a
// config.json. Tokenizer files are not made: keep the GGUF file for that. A rope_freqs.weight tensor has no
// place in a Hugging Face folder, so such files are refused. Uses memory for the whole result.
void gguf_to_safetensors(const std::filesystem::path& gguf, const std::filesystem::path& out_folder,
                         DType dtype);

}  // namespace beacon
