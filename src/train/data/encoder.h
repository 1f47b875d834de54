#pragma once
// From an example to tokens, and which of them are learnt.
#include <beacon/tokenizer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/data/example.h"

namespace beacon::train {

// Tokens [begin, end) of a document that are learnt.
struct ScoredRun {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool operator==(const ScoredRun&) const = default;
};

struct EncodedExample {
  ExampleKind kind = ExampleKind::kText;
  std::vector<int32_t> ids;
  std::vector<ScoredRun> runs;  // ascending, not empty, not touching
};

// Constant after construction; may be shared by threads.
class Encoder {
 public:
  // `chat_template` is a name (see chat.h), empty where conversations are not expected. Throws
  // kInvalidArgument for a name that is not known.
  Encoder(std::shared_ptr<const Tokenizer> tokenizer, std::string chat_template);

  // Text: the tokenizer's own first token where it adds one, the text, and the end-of-sequence token; all
  // learnt. Pair: input, a separator (space, line break or empty line, drawn by the input's hash), output and
  // the end; the output and the end are learnt. Conversation: as the template writes it, see
  // encode_chat_with_answers(). Throws kInvalidArgument for a conversation without a template or roles that
  // the template does not allow.
  EncodedExample encode(const Example& example) const;

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  // Changes whenever the same example could become other tokens.
  std::string fingerprint() const;

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::string chat_template_;
  std::optional<int32_t> eos_;
};

}  // namespace beacon::train
