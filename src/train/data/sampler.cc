#include "train/data/sampler.h"

#include <cmath>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/random.h"
#include "window/capacity.h"

namespace beacon::train {
namespace {

// Names of the streams of random numbers, so that none depends on how much another has drawn.
enum Stream : uint64_t { kFraction = 1, kOrder = 2, kSteps = 3 };

}  // namespace

Grouping grouping_from_string(const std::string& name) {
  if (name == "none") return Grouping::kNone;
  if (name == "strides") return Grouping::kStrides;
  if (name == "length") return Grouping::kLength;
  fail(ErrorCode::kInvalidArgument, "grouping: expected none, strides or length, found '{}'", name);
}

Sampler::Sampler(const Dataset& dataset, const SamplerOptions& options)
    : dataset_(dataset), options_(options) {
  constexpr auto kBad = ErrorCode::kInvalidArgument;
  require(options.num_ranks >= 1 && options.rank >= 0 && options.rank < options.num_ranks, kBad,
          "sampler: expected a rank from 0 to {}, found {}", options.num_ranks - 1, options.rank);
  require(options.step_samples >= 1 && options.step_samples % options.num_ranks == 0, kBad,
          "sampler: expected the samples of a step to be a multiple of the {} ranks, found {}",
          options.num_ranks, options.step_samples);
  validate(options.window);
  begin_epoch(0);
}

// The samples of an epoch in the order of the dataset.
std::vector<int64_t> Sampler::epoch_samples(int64_t epoch) const {
  std::vector<int64_t> samples;
  uint64_t number = 0;
  for (const DatasetPart& part : dataset_.parts()) {
    const double whole = std::floor(part.weight);
    for (int64_t copy = 0; copy < static_cast<int64_t>(whole); ++copy)
      for (int64_t i = part.begin; i < part.end; ++i) samples.push_back(i);
    std::vector<int64_t> drawn;
    for (int64_t i = part.begin; i < part.end; ++i) drawn.push_back(i);
    const double fraction = (part.weight - whole) * static_cast<double>(drawn.size());
    Random random(options_.seed, {kFraction, static_cast<uint64_t>(epoch), number++});
    random.shuffle(drawn);
    drawn.resize(static_cast<size_t>(std::llround(fraction)));
    samples.insert(samples.end(), drawn.begin(), drawn.end());
  }
  return samples;
}

int64_t Sampler::group_of(int64_t index) const {
  switch (options_.grouping) {
    case Grouping::kNone:
      return 0;
    case Grouping::kStrides:
      return num_strides(options_.window, dataset_.length(index));
    case Grouping::kLength:
      return dataset_.length(index);
  }
  return 0;
}

void Sampler::begin_epoch(int64_t epoch) {
  std::vector<int64_t> samples = epoch_samples(epoch);
  Random(options_.seed, {kOrder, static_cast<uint64_t>(epoch)}).shuffle(samples);
  std::map<int64_t, std::vector<int64_t>> open;  // samples of a group that do not fill a step yet
  std::vector<std::vector<int64_t>> steps;
  for (const int64_t sample : samples) {
    std::vector<int64_t>& group = open[group_of(sample)];
    group.push_back(sample);
    if (static_cast<int64_t>(group.size()) == options_.step_samples)
      steps.push_back(std::exchange(group, {}));
  }
  // Groups fill at different speeds: without this the long samples, being rarer, would come late.
  Random(options_.seed, {kSteps, static_cast<uint64_t>(epoch)}).shuffle(steps);
  order_.clear();
  for (const auto& step : steps) order_.insert(order_.end(), step.begin(), step.end());
  left_out_ = static_cast<int64_t>(samples.size() - order_.size());
  require(!order_.empty(), ErrorCode::kInvalidArgument,
          "sampler: {} samples do not fill one step of {}{}; take fewer in a step or more data",
          samples.size(), options_.step_samples, options_.grouping == Grouping::kNone ? "" : " in any group");
  cursor_ = {epoch, 0};
}

std::vector<int64_t> Sampler::next() {
  if (cursor_.step == steps_per_epoch()) begin_epoch(cursor_.epoch + 1);
  const int64_t share = options_.step_samples / options_.num_ranks;
  const auto begin = order_.begin() + cursor_.step * options_.step_samples + options_.rank * share;
  ++cursor_.step;
  return {begin, begin + share};
}

void Sampler::restore(const SamplerCursor& cursor) {
  require(cursor.epoch >= 0 && cursor.step >= 0, ErrorCode::kMismatch,
          "sampler: expected an epoch and a step from 0 on, found {} and {}", cursor.epoch, cursor.step);
  begin_epoch(cursor.epoch);
  require(cursor.step <= steps_per_epoch(), ErrorCode::kMismatch,
          "sampler: epoch {} has {} steps, so none can go on at {}; the data or the options are others",
          cursor.epoch, steps_per_epoch(), cursor.step);
  cursor_ = cursor;
}

}  // namespace beacon::train
