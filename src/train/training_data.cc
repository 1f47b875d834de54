#include "train/training_data.h"

#include <algorithm>
#include <span>

#include "base/check.h"

namespace beacon {
namespace {

train::DatasetOptions dataset_options(const TrainConfig& config, const std::vector<std::string>& sources) {
  train::DatasetOptions options;
  for (const std::string& source : sources) options.sources.push_back(train::parse_source(source));
  options.cache_folder = config.cache.empty() ? std::filesystem::path(config.run) / "cache"
                                              : std::filesystem::path(config.cache);
  options.min_length = config.min_length;
  options.max_length = config.max_length;
  options.long_text = train::long_text_from_string(config.long_text);
  options.long_dialogue = train::long_dialogue_from_string(config.long_dialogue);
  options.pack = config.pack;
  options.seed = static_cast<uint64_t>(config.seed);
  return options;
}

}  // namespace

TrainingData::TrainingData(const TrainConfig& config, const WindowOptions& window,
                           std::shared_ptr<const Tokenizer> tokenizer, const std::string& chat_template,
                           Communicator& communicator, const train::ImportProgress& progress)
    : batch_(config.batch), read_weight_(config.read_weight), window_(window) {
  const train::Encoder encoder(std::move(tokenizer), chat_template);
  const auto import = [&] {
    train_ = std::make_unique<train::Dataset>(dataset_options(config, config.data), encoder, progress);
    if (!config.valid_data.empty()) {
      valid_ =
          std::make_unique<train::Dataset>(dataset_options(config, config.valid_data), encoder, progress);
    }
  };
  if (communicator.rank() == 0) import();
  communicator.barrier();
  if (communicator.rank() != 0) import();

  train::SamplerOptions order;
  order.seed = static_cast<uint64_t>(config.seed);
  order.grouping = train::grouping_from_string(config.grouping);
  order.window = window;
  order.num_ranks = communicator.size();
  order.rank = communicator.rank();
  order.step_samples = config.batch * config.accumulation * communicator.size();
  sampler_ = std::make_unique<train::Sampler>(*train_, order);
  if (!valid_) return;
  // Spread over the data: the first samples may all be of one book.
  const int64_t wanted =
      config.valid_sequences == 0 ? valid_->size() : std::min(config.valid_sequences, valid_->size());
  for (int64_t i = communicator.rank(); i < wanted; i += communicator.size()) {
    valid_samples_.push_back(i * valid_->size() / wanted);
  }
}

std::vector<MicroBatch> TrainingData::next() {
  const std::vector<int64_t> indexes = sampler_->next();
  std::vector<MicroBatch> batches;
  for (size_t begin = 0; begin < indexes.size(); begin += static_cast<size_t>(batch_)) {
    std::vector<train::Sample> samples;
    for (const int64_t index : std::span(indexes).subspan(begin, static_cast<size_t>(batch_))) {
      samples.push_back(train_->at(index));
    }
    batches.push_back(make_batch(window_, samples, read_weight_));
  }
  return batches;
}

std::vector<int64_t> TrainingData::cursor() const {
  return {sampler_->cursor().epoch, sampler_->cursor().step};
}

void TrainingData::seek(const std::vector<int64_t>& cursor) {
  require(cursor.size() == 2, ErrorCode::kMismatch, "data cursor: expected 2 numbers, found {}",
          cursor.size());
  sampler_->restore({cursor[0], cursor[1]});
}

int64_t TrainingData::valid_size() const { return std::ssize(valid_samples_); }

MicroBatch TrainingData::valid_at(int64_t index) const {
  return make_batch(window_, {valid_->at(valid_samples_[static_cast<size_t>(index)])});
}

}  // namespace beacon
