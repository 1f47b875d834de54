#include "slow_twin.h"

#include <algorithm>
#include <limits>
#include <set>
#include <stdexcept>

namespace beacon::testing {

SlowTwin::SlowTwin(WindowOptions options, std::vector<int> ratios, int64_t total)
    : o_(std::move(options)), ratios_(std::move(ratios)), total_(total), p_(o_.skip_first) {
  q_ = o_.skip_last ? *o_.skip_last : std::numeric_limits<int64_t>::max();
  if (!o_.enabled) {
    p_ = q_ = 0;
    return;
  }
  const int64_t num_closes = closes(total);
  if (o_.attention == BeaconAttention::kChosenEcho) {
    int64_t limit = std::min(q_, total);
    if (o_.training) limit = num_closes == 0 ? 0 : (num_closes - 1) * o_.stride + o_.window;
    for (int64_t b = 0; (b + 1) * o_.stride <= limit; ++b) choose(b);
    return;
  }
  if (o_.placement == Placement::kInterleave) {
    int64_t limit = std::min(q_, total);
    if (o_.training) limit = num_closes == 0 ? 0 : p_ + (num_closes - 1) * o_.stride + o_.window;
    int64_t count = 0;
    int64_t begin = p_;
    for (int64_t t = p_; t < limit; ++t) {
      const int64_t block = (t - p_) / o_.stride;
      const int ratio = ratios_.at(static_cast<size_t>(block));
      if (ratio == 0) {
        begin = t + 1;
      } else if (++count == ratio) {
        beacons_.push_back({block, 0, t, t + 1, {begin, t + 1}});
        count = 0;
        begin = t + 1;
      }
    }
    return;
  }
  for (int64_t b = 0; b < num_closes; ++b) {
    const int ratio = ratios_.at(static_cast<size_t>(b));
    const int64_t start = p_ + b * o_.stride;
    const int64_t k = ratio == 0 ? 0 : o_.stride / ratio;
    for (int64_t i = 1; i <= k; ++i) {
      const int64_t end = i == k ? start + o_.stride : start + i * ratio;
      beacons_.push_back({b, i, end - 1, start + o_.window, {start + (i - 1) * ratio, end}});
    }
  }
}

float worth_of(int64_t token) { return static_cast<float>((token * 7 + token / 3) % 5); }

// Evenly spaced ones first; then again and again the best that is left.
void SlowTwin::choose(int64_t block) {
  const int ratio = ratios_.at(static_cast<size_t>(block));
  if (ratio == 0) return;
  const int64_t start = block * o_.stride, end = start + o_.stride, count = o_.stride / ratio;
  std::set<int64_t> taken;
  for (int64_t i = 1; i <= count / 2; ++i) taken.insert(start + i * o_.stride / (count / 2) - 1);
  while (static_cast<int64_t>(taken.size()) < count) {
    int64_t best = -1;
    for (int64_t t = start; t < end; ++t)
      if (taken.count(t) == 0 && (best < 0 || worth_of(t) > worth_of(best))) best = t;
    taken.insert(best);
  }
  int64_t begin = start;
  for (const int64_t token : taken) {
    beacons_.push_back({block, 0, token, end, {begin, token + 1}});
    begin = token + 1;
  }
  beacons_.back().span.end = end;
}

int64_t SlowTwin::closes(int64_t n) const {
  int64_t closed = 0;
  for (int64_t end = p_ + o_.window; o_.enabled && end <= std::min(n, q_); end += o_.stride) {
    const bool last_of_training = o_.training && end >= total_;
    const bool first_generation = o_.generation == Generation::kFirst;
    if (!last_of_training || first_generation) ++closed;
  }
  return closed;
}

int64_t SlowTwin::num_beacons(int64_t n) const {
  return std::count_if(beacons_.begin(), beacons_.end(), [&](const Beacon& b) { return b.born <= n; });
}

int64_t SlowTwin::open_start(int64_t n) const { return n < p_ ? 0 : p_ + closes(n) * o_.stride; }

// The sink and beacon rows when `closed` windows are closed and n tokens read, at positions 0, 1, 2, ...
std::vector<SeenKey> SlowTwin::memory_keys(int64_t closed, int64_t n) const {
  std::vector<SeenKey> keys;
  const auto add = [&](RowId id) { keys.push_back({id, static_cast<int64_t>(keys.size())}); };
  if (p_ > 0 && n >= p_)
    for (int64_t t = 0; t < p_; ++t) add({false, t});
  if (closed > 0)
    for (int64_t t = 0; t < o_.sink; ++t) add({false, t});
  for (int64_t b = 0; b < closed; ++b) {
    if (ratios_.at(static_cast<size_t>(b)) == 0) {
      for (int64_t t = p_ + b * o_.stride; t < p_ + (b + 1) * o_.stride; ++t)
        if (t >= o_.sink) add({false, t});
    }
    for (size_t i = 0; i < beacons_.size(); ++i)
      if (beacons_[i].block == b) add({true, static_cast<int64_t>(i)});
  }
  return keys;
}

// Raw rows of the open window up to last_token and interleaved beacons up to number last_beacon, n tokens
// read before.
void SlowTwin::add_open(std::vector<SeenKey>& keys, int64_t n, int64_t last_token,
                        int64_t last_beacon) const {
  const bool share =
      o_.placement == Placement::kInterleave && o_.attention == BeaconAttention::kStepExpansion;
  const bool echo = o_.attention == BeaconAttention::kEcho;
  const bool chosen = o_.attention == BeaconAttention::kChosenEcho;
  const int64_t first_position = static_cast<int64_t>(keys.size());
  int64_t position = first_position;
  for (int64_t t = open_start(n); t <= last_token; ++t) {
    keys.push_back({{false, t}, position++});
    if (!o_.enabled || o_.placement == Placement::kAppend) continue;
    // Chosen echoes come when their stride is complete, and stand with their tokens.
    for (int64_t i = 0; chosen && i <= last_beacon && i < static_cast<int64_t>(beacons_.size()); ++i)
      if (const Beacon& b = beacons_[static_cast<size_t>(i)]; b.born == t + 1)
        keys.push_back({{true, i}, first_position + b.token - open_start(n)});
    for (int64_t i = 0; !chosen && i <= last_beacon && i < static_cast<int64_t>(beacons_.size()); ++i)
      if (beacons_[static_cast<size_t>(i)].token == t) {
        keys.push_back({{true, i}, echo ? position - 1 : position});
        if (!share && !echo) ++position;
      }
  }
}

RowView SlowTwin::raw(int64_t token) const {
  std::vector<SeenKey> keys = memory_keys(closes(token), token);
  const int64_t memory = static_cast<int64_t>(keys.size());
  const int64_t before = num_beacons(token) - 1;
  add_open(keys, token, token, before);
  RowView row{{false, token}, keys.back().position, {}};
  const bool hides = o_.attention == BeaconAttention::kStepExpansion ||
                     o_.attention == BeaconAttention::kEcho || o_.attention == BeaconAttention::kChosenEcho;
  for (int64_t i = 0; i < static_cast<int64_t>(keys.size()); ++i)
    if (i < memory || !keys[static_cast<size_t>(i)].id.beacon || !hides)
      row.sees.push_back(keys[static_cast<size_t>(i)]);
  std::sort(row.sees.begin(), row.sees.end());
  return row;
}

RowView SlowTwin::beacon(int64_t index) const {
  const Beacon& self = beacons_.at(static_cast<size_t>(index));
  const bool interleave = o_.placement == Placement::kInterleave;
  const bool first = o_.generation == Generation::kFirst;
  const int64_t n = self.born - 1;  // tokens read before the step of its last token
  std::vector<SeenKey> keys = memory_keys(closes(n), n);
  const int64_t m = static_cast<int64_t>(keys.size());
  add_open(keys, n, n, index);
  RowView row{{true, index}, 0, {}};
  if (interleave) {
    row.position = keys.back().position;
    for (int64_t i = 0; i < static_cast<int64_t>(keys.size()); ++i) {
      const SeenKey& key = keys[static_cast<size_t>(i)];
      const bool later = o_.attention == BeaconAttention::kChosenEcho && key.id.index > self.token;
      const bool foreign = i >= m && (key.id.beacon ? key.id != row.id : later);
      if (!foreign || o_.attention == BeaconAttention::kFullCoverage) row.sees.push_back(key);
    }
    std::sort(row.sees.begin(), row.sees.end());
    return row;
  }
  // Study 1.5: i = 1..k, interval a = ratio, window coordinates j = 0..W-1. The last interval ends at the
  // stride.
  const int64_t a = ratios_.at(static_cast<size_t>(self.block));
  const int64_t k = o_.stride / a;
  const bool sees_others = !first && (o_.attend_prev || o_.attention == BeaconAttention::kFullCoverage);
  const auto position = [&](int64_t i) {
    const int64_t ia = i == k ? o_.stride : i * a;
    const int64_t shift = !first && o_.attend_prev ? i - 1 : 0;
    if (o_.attention == BeaconAttention::kStepExpansion) return m + ia + shift;
    if (o_.attention == BeaconAttention::kSegmentation) return m + a + shift;
    return m + o_.window + (first ? 0 : i - 1);
  };
  row.position = position(self.ordinal);
  for (int64_t i = 0; i < static_cast<int64_t>(keys.size()); ++i) {
    const int64_t j = i - m;
    bool sees = true;
    if (j < 0) {
      sees = !first || o_.attend_previous_windows;
    } else if (o_.attention != BeaconAttention::kFullCoverage) {
      const int64_t ia = self.ordinal == k ? o_.stride : self.ordinal * a;
      sees = j < ia && (o_.attention == BeaconAttention::kStepExpansion || j >= (self.ordinal - 1) * a);
    }
    if (sees) row.sees.push_back(keys[static_cast<size_t>(i)]);
  }
  for (int64_t i = 1; i <= self.ordinal; ++i)
    if (i == self.ordinal || sees_others) row.sees.push_back({{true, index - self.ordinal + i}, position(i)});
  std::sort(row.sees.begin(), row.sees.end());
  return row;
}

MemoryView SlowTwin::memory(int64_t n) const {
  MemoryView memory;
  const std::vector<SeenKey> keys = memory_keys(closes(n), n);
  const int64_t num_sink = (p_ > 0 && n >= p_ ? p_ : 0) + (closes(n) > 0 ? o_.sink : 0);
  for (size_t i = 0; i < keys.size(); ++i) {
    const RowId id = keys[i].id;
    if (static_cast<int64_t>(i) < num_sink) {
      memory.sink.push_back(id);
      continue;
    }
    memory.beacons.push_back(id);
    const Span raw_span{id.index, id.index + 1};
    memory.beacon_spans.push_back(id.beacon ? beacons_[static_cast<size_t>(id.index)].span : raw_span);
  }
  std::vector<SeenKey> open;
  add_open(open, n, n - 1, num_beacons(n) - 1);
  for (const SeenKey& key : open) memory.open.push_back(key.id);
  return memory;
}

}  // namespace beacon::testing
