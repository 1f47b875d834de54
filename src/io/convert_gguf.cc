// GGUF to a Hugging Face folder.
#include <cstring>

#include "base/check.h"
#include "io/checkpoint.h"
#include "io/convert.h"
#include "io/convert_folders.h"
#include "io/file_text.h"
#include "io/model_config_checks.h"
#include "io/rope_permutation.h"
#include "kernels/convert.h"

namespace beacon {
namespace {

// All elements of `tensor` as `dtype`, rows as they lie in the file.
std::vector<std::byte> convert_elements(const TensorView& tensor, DType dtype) {
  const int64_t n = tensor.elements();
  std::vector<std::byte> out(*dtype_bytes(dtype, static_cast<uint64_t>(n)));
  if (dtype == DType::kBF16) {
    kernels::dequantize_row_bf16(tensor.dtype, tensor.bytes.data(), reinterpret_cast<uint16_t*>(out.data()),
                                 n);
  } else if (dtype == DType::kF32) {
    kernels::dequantize_row(tensor.dtype, tensor.bytes.data(), reinterpret_cast<float*>(out.data()), n);
  } else {
    std::vector<float> values(static_cast<size_t>(n));
    kernels::dequantize_row(tensor.dtype, tensor.bytes.data(), values.data(), n);
    kernels::f32_to_f16(values.data(), reinterpret_cast<uint16_t*>(out.data()), n);
  }
  return out;
}

bool is_q_or_k(const std::string& name) {
  return name.find(".self_attn.q_proj.") != name.npos || name.find(".self_attn.k_proj.") != name.npos;
}

const char* torch_name(DType dtype) {
  return dtype == DType::kF32 ? "float32" : dtype == DType::kBF16 ? "bfloat16" : "float16";
}

// Keys in the order of the alphabet, as transformers writes them.
Json config_json(const ModelConfig& c, DType dtype) {
  const bool qwen2 = c.family == Family::kQwen2;
  Json json = {{"architectures", {qwen2 ? "Qwen2ForCausalLM" : "LlamaForCausalLM"}},
               {"model_type", to_string(c.family)},
               {"hidden_act", "silu"},
               {"hidden_size", c.hidden_size},
               {"intermediate_size", c.intermediate_size},
               {"num_hidden_layers", c.num_hidden_layers},
               {"num_attention_heads", c.num_attention_heads},
               {"num_key_value_heads", c.num_key_value_heads},
               {"head_dim", c.head_dim},
               {"vocab_size", c.vocab_size},
               {"max_position_embeddings", c.max_position_embeddings},
               {"rms_norm_eps", c.rms_norm_eps},
               {"rope_theta", c.rope.theta},
               {"tie_word_embeddings", c.tie_word_embeddings},
               {"torch_dtype", torch_name(dtype)}};
  if (c.rope.kind != RopeKind::kDefault) json["rope_scaling"] = rope_to_json(c.rope);
  if (!qwen2) {
    json["attention_bias"] = c.qkv_bias;
    json["mlp_bias"] = c.mlp_bias;
  }
  if (c.bos_token_id) json["bos_token_id"] = *c.bos_token_id;
  if (!c.eos_token_ids.empty()) json["eos_token_id"] = c.eos_token_ids;
  if (c.pad_token_id) json["pad_token_id"] = *c.pad_token_id;
  return json;
}

void check_convertible(const Checkpoint& checkpoint, DType dtype) {
  const ModelConfig& c = checkpoint.config();
  require(checkpoint.gguf() != nullptr, ErrorCode::kInvalidArgument, "{} is not a GGUF file",
          checkpoint.path().string());
  require(dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16, ErrorCode::kInvalidArgument,
          "expected F32, BF16 or F16 to convert to, found {}", dtype_info(dtype).name);
  require(!checkpoint.rope_factors(), ErrorCode::kUnsupported,
          "{} carries rope_freqs.weight, which a Hugging Face folder cannot hold; use the GGUF file itself",
          checkpoint.path().string());
  const bool same_bias = c.family == Family::kQwen2 ? c.qkv_bias && !c.o_bias : c.qkv_bias == c.o_bias;
  require(same_bias && !c.sliding_window, ErrorCode::kUnsupported,
          "{}: its attention biases or sliding window cannot be said in the config.json of {}",
          checkpoint.path().string(), to_string(c.family));
}

}  // namespace

void gguf_to_safetensors(const std::filesystem::path& gguf, const std::filesystem::path& out_folder,
                         DType dtype) {
  const auto checkpoint = Checkpoint::open(gguf);
  check_convertible(*checkpoint, dtype);
  make_empty_folder(out_folder);
  std::vector<std::vector<std::byte>> buffers;
  std::vector<TensorView> tensors;
  for (const std::string& name : checkpoint->names()) {
    TensorView tensor = *checkpoint->find(name);
    std::vector<std::byte> elements = convert_elements(tensor, dtype);
    if (checkpoint->permuted_qk() && is_q_or_k(name)) {
      std::vector<std::byte> ordered(elements.size());
      unpermute_rows(elements, ordered, tensor.shape.at(0), checkpoint->config().head_dim);
      elements = std::move(ordered);
    }
    tensor.dtype = dtype;
    buffers.push_back(std::move(elements));
    tensor.bytes = buffers.back();
    tensors.push_back(std::move(tensor));
  }
  write_safetensors(out_folder / kSingleShard, tensors, {{"format", "pt"}});
  write_text(out_folder / "config.json", config_json(checkpoint->config(), dtype).dump(2) + "\n");
}

}  // namespace beacon
