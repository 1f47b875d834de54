#pragma once
// What a trainer reads.
#include <cstdint>
#include <string>
#include <vector>

namespace beacon::train {

// One sequence. Labels are not shifted: labels[t] is ids[t] where token t is learnt, else kIgnoredLabel
// (window/labels.h).
struct Sample {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;  // [ids]
  std::string source;           // file, with the line behind a colon; for messages
};

}  // namespace beacon::train
