#pragma once
// The generation loop: logits, sample, stop?, callback, feed.
#include <ATen/core/Tensor.h>
#include <beacon/session.h>

#include <functional>

#include "engine/memory_impl.h"

namespace beacon {

// What the loop needs of a session.
struct GeneratorPorts {
  std::function<at::Tensor()> logits;  // f32 [1, V] of the last token fed
  std::function<bool()> has_room;      // whether one more token fits the positions
  std::function<void()> feed_pending;  // feeds memory->pending
  Memory::Impl* memory = nullptr;      // its pending token and sampler state are set
};

// Times and prompt tokens are left to the caller.
GenerateResult run_generation(const GenerateOptions& options, const GeneratorPorts& ports,
                              const TokenCallback& on_token);

}  // namespace beacon
