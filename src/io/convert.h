#pragma once
// Conversions between formats of checkpoints. Each writes files one by one, each atomically, into a new
// folder.
#include <filesystem>
#include <functional>

#include "base/dtype.h"
#include "io/tensor_view.h"

namespace beacon {

// Splits a merged checkpoint (base and beacon tensors in one Hugging Face folder, as the original publishes
// them) into a base folder and an adapter folder. Shards keep their names and their base tensors; the other
// small files are copied; the configuration keys of the beacon move to beacon_config.json, verbatim under
// "merged" with their places and prefix. Throws kInvalidArgument when there is nothing to split or an output
// folder is not empty.
void split_merged(const std::filesystem::path& checkpoint, const std::filesystem::path& out_base,
                  const std::filesystem::path& out_adapter);

// The inverse: merging what split_merged() wrote gives the same tensors bit for bit, in the same shards, and
// the same configuration in the same order. An adapter without "merged" goes into the first shard with
// beacon_ keys. Base must be a Hugging Face folder. Throws kMismatch when the base already has beacon
// tensors.
void merge(const std::filesystem::path& base, const std::filesystem::path& adapter,
           const std::filesystem::path& out);

// Writes all elements of a tensor as f32 (tensor.elements() floats at out).
using Dequantize = std::function<void(const TensorView& tensor, float* out)>;

// Writes the tensors of a GGUF file under Hugging Face names with q and k rows in their order, as
// model.safetensors of element type kF32, kBF16 or kF16 (rounded to nearest even), and a config.json.
// Tokenizer files are not made: keep the GGUF file for that. Uses memory for the whole result.
void gguf_to_safetensors(const std::filesystem::path& gguf, const std::filesystem::path& out_folder,
                         DType dtype, const Dequantize& dequantize);

}  // namespace beacon
