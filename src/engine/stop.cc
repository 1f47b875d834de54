#include "engine/stop.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace beacon {
namespace {

// The failure function of Knuth, Morris and Pratt.
std::vector<size_t> borders(std::string_view text) {
  std::vector<size_t> border(text.size(), 0);
  size_t length = 0;
  for (size_t i = 1; i < text.size(); ++i) {
    while (length > 0 && text[i] != text[length]) length = border[length - 1];
    if (text[i] == text[length]) ++length;
    border[i] = length;
  }
  return border;
}

}  // namespace

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  patterns_.reserve(stops.size());
  for (auto& stop : stops) {
    require(!stop.empty(), ErrorCode::kInvalidArgument,
            "stop string {} is empty: every text would stop at once", patterns_.size());
    auto border = borders(stop);
    patterns_.push_back({std::move(stop), std::move(border), 0});
  }
}

void StopMatcher::step(Pattern& pattern, char byte) {
  size_t length = pattern.length;
  while (length > 0 && byte != pattern.text[length]) length = pattern.border[length - 1];
  pattern.length = byte == pattern.text[length] ? length + 1 : 0;
}

std::string StopMatcher::push(std::string_view text) {
  if (stopped() || finished_) return {};
  for (const char byte : text) {
    held_.push_back(byte);
    for (auto& pattern : patterns_) step(pattern, byte);
    for (size_t i = 0; i < patterns_.size(); ++i) {
      const auto& pattern = patterns_[i];
      if (pattern.length < pattern.text.size()) continue;
      if (!matched_ || pattern.text.size() > patterns_[*matched_].text.size()) matched_ = i;
    }
    if (stopped()) {
      held_.resize(held_.size() - patterns_[*matched_].text.size());
      return std::exchange(held_, {});
    }
  }
  size_t undecided = 0;
  for (const auto& pattern : patterns_) undecided = std::max(undecided, pattern.length);
  std::string safe = held_.substr(0, held_.size() - undecided);
  held_.erase(0, safe.size());
  return safe;
}

std::string StopMatcher::finish() {
  finished_ = true;
  return std::exchange(held_, {});
}

void StopMatcher::reset() {
  for (auto& pattern : patterns_) pattern.length = 0;
  held_.clear();
  matched_.reset();
  finished_ = false;
}

}  // namespace beacon
