#pragma once
// The rule tables written down once more, as directly as possible: what every row of a whole sequence sees
// and where it stands, from token numbers alone. Knows nothing of feeds, steps, chunks or parallel windows.
#include <vector>

#include "plan_view.h"
#include "window/options.h"

namespace beacon::testing {

// What a token is worth in these tests, with ties.
float worth_of(int64_t token);

class SlowTwin {
 public:
  // ratios[b] of window (block) b, as many as are drawn. total: length of the sequence (matters in training
  // only).
  SlowTwin(WindowOptions options, std::vector<int> ratios, int64_t total);

  // After n tokens.
  int64_t closes(int64_t n) const;
  int64_t num_beacons(int64_t n) const;
  MemoryView memory(int64_t n) const;

  RowView raw(int64_t token) const;
  RowView beacon(int64_t index) const;

 private:
  struct Beacon {
    int64_t block = 0;    // the window it is of
    int64_t ordinal = 0;  // 1-based number in its window (append)
    int64_t token = 0;    // interleave: follows it; append: last token of its interval
    int64_t born = 0;     // number of tokens after which it exists
    Span span;
  };
  std::vector<SeenKey> memory_keys(int64_t closed, int64_t n) const;
  int64_t open_start(int64_t n) const;
  void choose(int64_t block);
  void add_open(std::vector<SeenKey>& keys, int64_t n, int64_t last_token, int64_t last_beacon) const;

  WindowOptions o_;
  std::vector<int> ratios_;
  int64_t total_;
  int64_t p_;  // first token that can be condensed
  int64_t q_;  // first token that cannot any more
  std::vector<Beacon> beacons_;
};

}  // namespace beacon::testing
