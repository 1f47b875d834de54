#include "train/data/encoder.h"

#include <xxhash.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "tokenizer/chat_answers.h"

namespace beacon::train {
namespace {

// Raise it when the rules of this file change: caches of tokens made by other rules are then made again.
constexpr int kRules = 1;

// A token of the base model that ends a text. A chat model has several: the one that ends a document comes
// first by id in every family we read.
std::optional<int32_t> end_of_text(const Tokenizer& tokenizer) {
  if (tokenizer.eos_ids().empty()) return std::nullopt;
  return tokenizer.eos_ids().front();
}

std::string_view separator(const std::string& input) {
  static constexpr std::array<std::string_view, 3> kSeparators = {" ", "\n", "\n\n"};
  return kSeparators[XXH3_64bits(input.data(), input.size()) % kSeparators.size()];
}

}  // namespace

Encoder::Encoder(std::shared_ptr<const Tokenizer> tokenizer, std::string chat_template)
    : tokenizer_(std::move(tokenizer)),
      chat_template_(std::move(chat_template)),
      eos_(end_of_text(*tokenizer_)) {
  const auto names = chat_template_names();
  require(chat_template_.empty() || std::find(names.begin(), names.end(), chat_template_) != names.end(),
          ErrorCode::kInvalidArgument, "expected a chat template of {}, found '{}'", fmt::join(names, ", "),
          chat_template_);
}

EncodedExample Encoder::encode(const Example& example) const {
  EncodedExample out;
  out.kind = example.kind;
  if (example.kind == ExampleKind::kConversation) {
    require(!chat_template_.empty(), ErrorCode::kInvalidArgument,
            "a conversation needs a chat template; name one");
    ChatWithAnswers chat = encode_chat_with_answers(*tokenizer_, chat_template_, example.messages);
    out.ids = std::move(chat.ids);
    for (const AnswerTokens& answer : chat.answers) {
      if (answer.begin < answer.end)
        out.runs.push_back({static_cast<uint32_t>(answer.begin), static_cast<uint32_t>(answer.end)});
    }
    return out;
  }
  size_t begin = 0;
  if (example.kind == ExampleKind::kText) {
    out.ids = tokenizer_->encode(example.text);
  } else {
    const std::string head = example.input + std::string(separator(example.input));
    const auto prefix = tokenizer_->encode(head);
    out.ids = tokenizer_->encode(head + example.output);
    // A separator that became part of the answer's first word is learnt with it.
    const size_t most = std::min(prefix.size(), out.ids.size());
    while (begin < most && prefix[begin] == out.ids[begin]) ++begin;
  }
  if (eos_) out.ids.push_back(*eos_);
  if (begin < out.ids.size())
    out.runs.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(out.ids.size())});
  return out;
}

std::string Encoder::fingerprint() const {
  return fmt::format("{}/{}/{}", kRules, tokenizer_->fingerprint(), chat_template_);
}

}  // namespace beacon::train
