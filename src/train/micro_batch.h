#pragma once
// Some samples side by side, ready for the tape.
#include <cstdint>
#include <vector>

#include "train/data/sample.h"
#include "window/options.h"

namespace beacon {

struct MicroBatch {
  int64_t batch = 0;
  int64_t num_tokens = 0;                    // of each row, padding included
  std::vector<int32_t> ids;                  // [B * num_tokens]
  std::vector<std::vector<int32_t>> labels;  // B times [num_tokens], shifted (window/labels.h)
  std::vector<std::vector<float>> weights;   // of the labels; empty: 1 each
  int64_t num_labels = 0;                    // that count
  int64_t num_sample_tokens = 0;             // without padding
};

// Shorter samples are padded at their end, which nothing before it sees. Throws kInvalidArgument when the
// samples do not have equally many windows: padding would then move the place where condensing ends.
// read_weight: weight of tokens that the samples do not score; at 0 they stay without a label.
MicroBatch make_batch(const WindowOptions& options, const std::vector<train::Sample>& samples,
                      double read_weight = 0.0);

}  // namespace beacon
