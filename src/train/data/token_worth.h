#pragma once
// What a token is worth to whoever asks about a text: how often, of the times it was read, an answer repeated
// it. Names, numbers and places are asked for, function words hardly ever. Chosen echoes go where the worth
// is.
#include <cstdint>
#include <vector>

#include "train/data/dataset.h"

namespace beacon::train {

// [vocabulary], each in [0, 1]: (learnt + m p) / (seen + m) over all samples that hold tokens that are only
// read, with p the share over all tokens and m = 10, so that a token that was hardly met has the mean. Throws
// kInvalidArgument where no sample has a question: plain prose tells nothing.
std::vector<float> token_worth(const Dataset& data, int64_t vocabulary);

}  // namespace beacon::train
