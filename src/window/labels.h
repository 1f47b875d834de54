#pragma once
// Which token each row is to predict, and which of these losses count.
#include <cstdint>
#include <vector>

#include "window/options.h"

namespace beacon {

inline constexpr int32_t kIgnoredLabel = -100;

// Number of rows at the start of a sequence whose losses never count in training: the first window, for
// everything but interleave with full coverage and the first generation (no beacon has an effect on it;
// study 1.8). With skip_first the first step is the skipped tokens.
int64_t unscored_rows(const WindowOptions& options);

// [num_tokens] 1 where the loss of predicting token t + 1 from row t counts; the last row predicts nothing.
// Outside training every row but the last counts.
std::vector<uint8_t> scored(const WindowOptions& options, int64_t num_tokens);

// Labels shifted once for the whole sequence, so that the last token of a window predicts the first of the
// next: out[t] = labels[t + 1] where scored, else kIgnoredLabel. labels [num_tokens] are token ids or
// kIgnoredLabel.
std::vector<int32_t> shifted_labels(const WindowOptions& options, const std::vector<int32_t>& labels);

}  // namespace beacon
