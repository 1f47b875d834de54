// Making the prompts of the pass-key task.
#include <beacon/chat.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/random.h"
#include "eval/passkey.h"

namespace beacon::eval {
namespace {

constexpr const char* kTask =
    "There is a pass key hidden in the text below. Find it and remember it; you will be asked for it.";
constexpr const char* kQuestion = "What is the pass key?";
constexpr const char* kAnswerStart = "The pass key is";

std::string needle(const std::string& key) {
  return fmt::format("The pass key is {}. Remember it. {} is the pass key.", key, key);
}

bool ends_sentence(std::string_view text, size_t at) {
  return (text[at] == '.' || text[at] == '!' || text[at] == '?') && at + 1 < text.size() &&
         (text[at + 1] == ' ' || text[at + 1] == '\n');
}

// The first place at or after `from` where a sentence begins; the end of the text without one.
size_t sentence_start(std::string_view text, size_t from) {
  if (from == 0) return 0;
  for (size_t i = from; i < text.size(); ++i) {
    if (ends_sentence(text, i - 1)) return i + 1;
  }
  return text.size();
}

// Places where the key can stand in a text: its beginning, every start of a sentence, its end.
std::vector<size_t> places(std::string_view text) {
  std::vector<size_t> out = {0};
  for (size_t at = sentence_start(text, 1); at < text.size(); at = sentence_start(text, at + 1))
    out.push_back(at);
  out.push_back(text.size());
  return out;
}

// `bytes` bytes of text from a sentence on, going round at the end.
std::string stretch(std::string_view text, size_t from, size_t bytes) {
  std::string out;
  for (size_t at = from; out.size() < bytes; at = 0) {
    if (!out.empty()) out += '\n';
    out += text.substr(at, bytes - out.size());
  }
  // Not in the middle of a character.
  while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0U) == 0x80U) out.pop_back();
  if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xC0U) out.pop_back();
  return out;
}

std::string with_key(const std::string& text, const std::string& key, int64_t depth, int64_t depths) {
  const auto where = places(text);
  const double share = depths > 1 ? static_cast<double>(depth) / static_cast<double>(depths - 1) : 0.5;
  const auto aim = static_cast<size_t>(std::lround(share * static_cast<double>(text.size())));
  const size_t at = *std::min_element(where.begin(), where.end(), [&](size_t a, size_t b) {
    const auto off = [&](size_t place) { return place > aim ? place - aim : aim - place; };
    return off(a) < off(b);
  });
  return text.substr(0, at) + "\n" + needle(key) + "\n" + text.substr(at);
}

std::vector<int32_t> prompt_ids(const Tokenizer& tokenizer, const std::string& chat_template,
                                const std::string& text) {
  std::string body = fmt::format("{}\n\n{}\n\n{}", kTask, text, kQuestion);
  if (chat_template.empty()) return tokenizer.encode(body + " " + kAnswerStart);
  auto ids = encode_chat(tokenizer, chat_template, std::vector<ChatMessage>{{"user", std::move(body)}}, true);
  const auto start = tokenizer.encode(kAnswerStart, {.add_special = false});
  ids.insert(ids.end(), start.begin(), start.end());
  return ids;
}

}  // namespace

std::vector<Document> passkey_filler() {
  return {{"filler",
           "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "}};
}

PasskeyPrompt make_passkey_prompt(const Tokenizer& tokenizer, const std::vector<Document>& haystack,
                                  const PasskeyOptions& options, int64_t length, int64_t index) {
  BEACON_CHECK(!haystack.empty() && options.depths >= 1);
  // A stream of its own for every prompt, so that more samples or lengths leave the others as they were.
  Random random(options.seed, {static_cast<uint64_t>(length), static_cast<uint64_t>(index)});
  PasskeyPrompt prompt;
  prompt.depth = index % options.depths;
  prompt.key = fmt::format("{}", 10000 + random.below(90000));
  const std::string& text = haystack[random.below(haystack.size())].text;
  require(!text.empty(), ErrorCode::kInvalidArgument, "a text to hide the key in is empty");
  size_t from = sentence_start(text, random.below(text.size()));
  if (from == text.size()) from = 0;

  constexpr double kBytesPerToken = 8;  // more than any text has: the first try is too long and then cut
  auto bytes = static_cast<size_t>(kBytesPerToken * static_cast<double>(length));
  while (true) {
    const std::string body = stretch(text, from, bytes);
    prompt.ids = prompt_ids(tokenizer, options.chat_template,
                            with_key(body, prompt.key, prompt.depth, options.depths));
    const auto tokens = static_cast<int64_t>(prompt.ids.size());
    if (tokens <= length) return prompt;
    require(bytes > 0, ErrorCode::kInvalidArgument,
            "a prompt of {} tokens cannot hold the question, which takes {}", length, tokens);
    const auto excess = static_cast<double>(tokens - length) / static_cast<double>(tokens);
    bytes -= std::min(bytes, std::max<size_t>(1, static_cast<size_t>(excess * static_cast<double>(bytes))));
  }
}

}  // namespace beacon::eval
