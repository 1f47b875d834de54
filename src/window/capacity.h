#pragma once
// How much text fits. L_max = trained positions of the base model times its rope factor.
#include <cstdint>
#include <optional>
#include <vector>

#include "window/options.h"

namespace beacon {

// Tokens a ratio holds by the original's rule of thumb, (L_max - W) * ratio + W; L_max at ratio 0. It leaves
// out the sink and the beacons inside the open window; adapt-N uses it. 0 when max_positions < window.
int64_t capacity(int64_t max_positions, int64_t window, int ratio);

// adapt-N: the ratio of smallest capacity that is >= tokens + adapt_tokens; the largest ratio if none is.
// `ratios` is the filtered list, not empty.
int adapt_ratio(const std::vector<int>& ratios, int64_t max_positions, int64_t window, int64_t tokens,
                int64_t adapt_tokens);

// Exact number of RoPE positions reached when `tokens` tokens are read with one ratio (options.ratio is not
// looked at).
int64_t positions_needed(const WindowOptions& options, int ratio, int64_t tokens);

// Exact number of tokens that can be read with one ratio without passing options.max_positions (> 0), at most
// `limit`.
int64_t tokens_that_fit(const WindowOptions& options, int ratio, int64_t limit = int64_t{1} << 24);

// The smallest ratio >= 1 of `candidates` (empty: all divisors of the stride) that reads `tokens` tokens
// without passing options.max_positions, exactly.
std::optional<int> smallest_ratio_that_holds(const WindowOptions& options, int64_t tokens,
                                             std::vector<int> candidates = {});

// Windows a sequence is cut into: ceil((tokens - W) / S) + 1, at least 1 for tokens > 0 (study 1.8,
// grouping).
int64_t num_strides(const WindowOptions& options, int64_t tokens);

}  // namespace beacon
