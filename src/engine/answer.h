#pragma once
// An answer as it grows, one token at a time: sample, stop?, callback.
#include <beacon/session.h>

#include <span>

#include "engine/memory_impl.h"
#include "engine/sampler.h"
#include "engine/stop.h"

namespace beacon {

// The caller feeds memory.pending and computes the logits:
//
//     Answer answer(options, memory, on_token);
//     while (!answer.done()) {
//       if (memory.pending) feed(*memory.pending);
//       answer.accept(logits_of(memory.last_hidden));
//     }
//     return answer.finish();
class Answer {
 public:
  // `memory` must outlive it. Throws kInvalidArgument for bad options, kNotFound when the model has no
  // tokenizer.
  Answer(const GenerateOptions& options, Memory::Impl& memory, TokenCallback on_token);

  // Whether the answer has ended; the one place that looks whether a pending token still has room.
  bool done();
  // Samples from logits [V] of the last token fed; the token becomes memory's pending one.
  void accept(std::span<const float> logits);
  // The answer, once; times and prompt tokens are left to the caller.
  GenerateResult finish();

 private:
  // Text that may be shown: whole characters, and nothing that may still become a stop string.
  class TextStream {
   public:
    TextStream(std::shared_ptr<const Tokenizer> tokenizer, const std::vector<std::string>& stops)
        : decoder_(std::move(tokenizer), /*skip_special=*/true), stops_(stops) {}
    std::string push(int32_t id) { return stops_.push(decoder_.push(id)); }
    std::string finish();
    bool stopped() const { return stops_.stopped(); }

   private:
    StreamDecoder decoder_;
    StopMatcher stops_;
  };

  bool has_room() const;
  bool is_end(int32_t id) const;

  GenerateOptions options_;
  Memory::Impl& memory_;
  TokenCallback on_token_;
  Sampler sampler_;
  TextStream stream_;
  GenerateResult result_;
};

}  // namespace beacon
