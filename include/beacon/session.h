#pragma once
/// \file session.h
/// Reading a text into memory and generating from it.
///
///     auto model = beacon::Model::load({.model = "SmolLM2.gguf"});
///     beacon::Session session(model, {});
///     session.feed_text(novel);
///     auto answer = session.generate_text("Who is Emma?", {});
#include <beacon/chat.h>
#include <beacon/memory.h>
#include <beacon/sampling.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace beacon {

/// Progress of one feed: called after every window. Return false to stop: the call then throws kCancelled,
/// with what was read until then in memory.
struct Progress {
  int64_t tokens_done = 0;   ///< of this feed
  int64_t tokens_total = 0;  ///< of this feed
};
using ProgressCallback = std::function<bool(const Progress&)>;

/// One generated token.
struct GeneratedToken {
  int32_t id = 0;
  std::string_view text;  ///< text that became complete with it, possibly empty; valid during the call
};
/// Return false to stop after this token.
using TokenCallback = std::function<bool(const GeneratedToken&)>;

struct GenerateOptions {
  int64_t max_new_tokens = 256;
  SamplingOptions sampling;
  std::vector<std::string> stop;  ///< generation ends before the first of these strings
  bool ignore_eos = false;        ///< go on past end-of-sequence tokens
  std::vector<int32_t> eos_ids;   ///< end-of-sequence tokens; empty = the model's
};

struct GenerateResult {
  std::string text;           ///< without special tokens and stop strings
  std::vector<int32_t> ids;   ///< every sampled token, the end-of-sequence token included
  std::string finish_reason;  ///< "eos", "stop", "length" or "cancelled"
  int64_t prompt_tokens = 0;  ///< tokens fed by this call before the first sample
  double prompt_s = 0;        ///< seconds spent on them
  double generate_s = 0;      ///< seconds from the first sample to the last
};

/// One conversation on a shared model. Sessions are independent: several may run in several threads on one
/// model; one session is used by one thread at a time.
class BEACON_API Session {
 public:
  explicit Session(std::shared_ptr<const Model> model, const SessionOptions& options = {});
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  const Model& model() const;

  /// Reads tokens into memory. Feeding in pieces equals feeding at once. Throws kCapacity, before reading
  /// anything, when the text would pass the positions the model was trained on; the message names a ratio
  /// that would hold it.
  void feed(std::span<const int32_t> ids, const ProgressCallback& progress = {});
  /// Tokenizes and reads. The tokenizer's own first token is put before the very first text of a session
  /// only.
  void feed_text(std::string_view text, const ProgressCallback& progress = {});

  /// Samples a continuation of what was fed. The last sampled token is fed by the next feed() or generate(),
  /// so nothing is missing from memory between turns. Throws kInvalidArgument when nothing was fed yet.
  GenerateResult generate(const GenerateOptions& options, const TokenCallback& on_token = {});
  /// feed_text(prompt), then generate().
  GenerateResult generate_text(std::string_view prompt, const GenerateOptions& options,
                               const TokenCallback& on_token = {});
  /// Feeds chat messages in the named template (see chat.h) with the opening of an assistant turn.
  void feed_chat(const std::string& template_name, const std::vector<ChatMessage>& messages,
                 const ProgressCallback& progress = {});

  /// Log-probabilities for scoring: feeds ids and returns, for each, ln p(id | everything before), in nats;
  /// the first token ever fed has none and gets 0.
  std::vector<float> score(std::span<const int32_t> ids, const ProgressCallback& progress = {});

  Ledger ledger() const;
  const Memory& memory() const;
  /// Goes on from this memory, which must belong to the session's model (kMismatch) and may come from a file.
  /// The session takes over the options the memory was made with.
  void set_memory(Memory memory);
  void save(const std::filesystem::path& path, const std::string& title = {}) const;
  /// Loads a memory file; on any error the session is as before.
  void load(const std::filesystem::path& path);

  /// A point to come back to. Marks belong to the session that made them and copy its open window.
  class Mark;
  std::shared_ptr<const Mark> mark() const;
  /// Exactly the state at the mark, even when windows closed since.
  void rewind(const Mark& mark);

  Session clone() const;
  void reset();

  struct Impl;

 private:
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace beacon
