#pragma once
/// \file sampling.h
/// How the next token is chosen from the logits of the last row.
#include <beacon/export.h>

#include <cstdint>

namespace beacon {

/// Plain options of one generation. The steps are applied in the order of Hugging Face transformers:
/// repetition penalty, temperature, top_k, top_p, min_p; then one token is drawn from what is left,
/// renormalised. Between equal scores the lower token id comes first, so top_k keeps exactly k tokens.
struct SamplingOptions {
  float temperature = 0.0F;  ///< >= 0; 0 takes the most probable token and skips all below but the penalty
  int top_k = 0;             ///< >= 0; keeps the k most probable tokens; 0 keeps all
  float top_p = 1.0F;  ///< in [0, 1]; keeps the fewest tokens that reach this mass, never none; 1 keeps all
  float min_p = 0.0F;  ///< in [0, 1]; drops tokens below min_p times the best one's probability; 0 is off
  float repetition_penalty =
      1.0F;  ///< > 0; seen tokens: logit / penalty when positive, * penalty when not; 1 is off
  int repetition_window =
      64;             ///< >= 0; how many of the last tokens count as seen; 0 counts all that are given
  uint64_t seed = 0;  ///< of the generator; equal seeds and logits give equal tokens on every machine
};

/// Throws kInvalidArgument naming the first field that is out of range, its value and what is allowed.
BEACON_API void validate(const SamplingOptions& options);

}  // namespace beacon
