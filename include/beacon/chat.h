#pragma once
/// \file chat.h
/// Conversations as the models were trained to see them.
#include <beacon/export.h>
#include <beacon/tokenizer.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

/// One turn of a conversation.
struct ChatMessage {
  std::string role;  ///< "system", "user" or "assistant"
  std::string content;
};

/// Names of the templates we know: chatml, smollm2, llama-2, llama-3, mistral, qwen2 and their dialects.
BEACON_API std::vector<std::string> chat_template_names();

/// Name of the template that a Jinja text spells. Throws kUnsupported naming the choices when it is none we
/// know.
BEACON_API std::string recognise_chat_template(std::string_view jinja);

/// The rendered conversation in stretches: the template's own text is trusted, what people wrote is not. bos
/// and eos are the model's own tokens as text; empty means the template's usual ones. Throws kInvalidArgument
/// for an unknown name, no messages, or roles that the template does not allow.
BEACON_API std::vector<TextPiece> render_chat_pieces(std::string_view name,
                                                     std::span<const ChatMessage> messages,
                                                     bool add_generation_prompt, std::string_view bos = {},
                                                     std::string_view eos = {});

/// The same as one text, equal to what transformers' apply_chat_template gives.
BEACON_API std::string render_chat(std::string_view name, std::span<const ChatMessage> messages,
                                   bool add_generation_prompt);

/// Ids of a conversation. Special tokens are read in the template's text only: a message that contains
/// "<|im_end|>" contains these ten letters and ends nothing. Nothing is added beyond what the template
/// writes.
BEACON_API std::vector<int32_t> encode_chat(const Tokenizer& tokenizer, std::string_view name,
                                            std::span<const ChatMessage> messages,
                                            bool add_generation_prompt);

/// The continuation of a conversation whose first `first` messages were read or generated already: everything
/// that the template writes after the content of messages[first - 1], its closing mark included, and the
/// messages from `first` on. For a caller that has not fed the end token it sampled. With first = 0 it is
/// encode_chat().
BEACON_API std::vector<int32_t> encode_chat_turn(const Tokenizer& tokenizer, std::string_view name,
                                                 std::span<const ChatMessage> messages, size_t first,
                                                 bool add_generation_prompt);

}  // namespace beacon
