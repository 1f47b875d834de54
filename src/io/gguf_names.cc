// Tensor names of GGUF files against those of Hugging Face.
#include <utility>

#include "io/checkpoint.h"

namespace beacon {
namespace {

constexpr std::pair<std::string_view, std::string_view> kTopNames[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};

// Within a layer, without the ending .weight or .bias.
constexpr std::pair<std::string_view, std::string_view> kLayerNames[] = {
    {"attn_norm", "input_layernorm"}, {"ffn_norm", "post_attention_layernorm"},
    {"attn_q", "self_attn.q_proj"},   {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},   {"attn_output", "self_attn.o_proj"},
    {"ffn_gate", "mlp.gate_proj"},    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

}  // namespace

std::string hf_name_of_gguf(std::string_view gguf_name) {
  for (const auto& [ours, theirs] : kTopNames) {
    if (gguf_name == ours) return std::string(theirs);
  }
  constexpr std::string_view kBlock = "blk.";
  const size_t number_end = gguf_name.find('.', kBlock.size());
  const size_t ending = gguf_name.rfind('.');
  if (gguf_name.substr(0, kBlock.size()) != kBlock || number_end == gguf_name.npos || ending <= number_end) {
    return std::string(gguf_name);
  }
  const auto number = gguf_name.substr(kBlock.size(), number_end - kBlock.size());
  const auto part = gguf_name.substr(number_end + 1, ending - number_end - 1);
  if (number.empty() || number.find_first_not_of("0123456789") != number.npos) return std::string(gguf_name);
  for (const auto& [ours, theirs] : kLayerNames) {
    if (part != ours) continue;
    std::string name = "model.layers.";
    name.append(number).append(".").append(theirs).append(gguf_name.substr(ending));
    return name;
  }
  return std::string(gguf_name);
}

}  // namespace beacon
