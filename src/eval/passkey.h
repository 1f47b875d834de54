#pragma once
// A five-digit key hidden in a long text: does the model still know it at the end?
#include <beacon/session.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eval/documents.h"

namespace beacon::eval {

struct PasskeyOptions {
  std::vector<int64_t> lengths;  // tokens of a whole prompt, question and template included
  int64_t depths = 10;           // places of the key, evenly spaced from the first sentence to the last
  int64_t samples = 50;          // of each length; sample i hides its key at depth i modulo depths
  uint64_t seed = 1;             // of keys and stretches of text
  std::string chat_template;     // name, see chat.h; empty: the prompt is plain text
  int64_t max_new_tokens = 16;   // of an answer
  SessionOptions session;
};

// One prompt. Its tokens are at most the length asked for, and fall short of it by a sentence or so.
struct PasskeyPrompt {
  std::vector<int32_t> ids;
  std::string key;
  int64_t depth = 0;  // index, 0 .. depths - 1
};

// Sample `index` of a length; the same for the same arguments on every machine. Throws kInvalidArgument when
// the length cannot hold the question.
PasskeyPrompt make_passkey_prompt(const Tokenizer& tokenizer, const std::vector<Document>& haystack,
                                  const PasskeyOptions& options, int64_t length, int64_t index);

struct Tally {
  int64_t right = 0;
  int64_t total = 0;
  double share() const { return total > 0 ? static_cast<double>(right) / static_cast<double>(total) : 0; }
};

struct PasskeyLength {
  int64_t length = 0;
  int64_t mean_tokens = 0;  // that prompts really had
  Tally all;
  std::vector<Tally> depths;
};

struct PasskeyResult {
  Tally all;
  std::vector<PasskeyLength> lengths;
};

// Text without a story, for when no books are given: a few sentences repeated, as in the first pass-key
// tests.
std::vector<Document> passkey_filler();

// Reads every prompt in a session of its own and lets it answer greedily; an answer is right when it contains
// the digits. `on_sample` is told the samples done and to do, and stops the run (kCancelled) with false; it
// also runs while a prompt is being read. Throws as Session does, kCapacity for a length that does not fit.
PasskeyResult measure_passkey(const std::shared_ptr<const Model>& model,
                              const std::vector<Document>& haystack, const PasskeyOptions& options,
                              const std::function<bool(int64_t done, int64_t total)>& on_sample = {});

}  // namespace beacon::eval
