#include "engine/answer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace beacon {
namespace {

std::shared_ptr<const Tokenizer> tokenizer_of(const Memory::Impl& memory) {
  const auto& tokenizer = memory.model->impl().tokenizer;
  require(tokenizer != nullptr, ErrorCode::kNotFound,
          "the model has no tokenizer, so its tokens cannot be turned into text");
  return tokenizer;
}

}  // namespace

std::string Answer::TextStream::finish() {
  std::string text = stops_.push(decoder_.finish());
  return text + stops_.finish();
}

Answer::Answer(const GenerateOptions& options, Memory::Impl& memory, TokenCallback on_token)
    : options_(options),
      memory_(memory),
      on_token_(std::move(on_token)),
      sampler_(options.sampling),
      stream_(tokenizer_of(memory), options.stop) {
  require(options.max_new_tokens >= 0, ErrorCode::kInvalidArgument,
          "max_new_tokens is {}; 0 or more was expected", options.max_new_tokens);
  if (memory.sampler && memory.sampler_seed == options.sampling.seed) sampler_.restore(*memory.sampler);
}

bool Answer::has_room() const {
  return memory_.beyond_positions ||
         memory_.state.planner.forecast(1).positions <= memory_.model->info().max_positions;
}

bool Answer::is_end(int32_t id) const {
  if (options_.ignore_eos) return false;
  const auto& ids = options_.eos_ids.empty() ? memory_.model->tokenizer().eos_ids() : options_.eos_ids;
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

bool Answer::done() {
  if (!result_.finish_reason.empty()) return true;
  if (static_cast<int64_t>(result_.ids.size()) >= options_.max_new_tokens) {
    result_.finish_reason = "length";
  } else if (memory_.pending && !has_room()) {
    result_.finish_reason = "capacity";
  }
  return !result_.finish_reason.empty();
}

void Answer::accept(std::span<const float> logits) {
  const int32_t id = sampler_.sample(logits, memory_.recent);
  memory_.pending = id;
  result_.ids.push_back(id);
  const bool eos = is_end(id);
  const std::string text = eos ? std::string() : stream_.push(id);
  result_.text += text;
  const bool go_on = !on_token_ || on_token_({id, text});
  if (eos || stream_.stopped() || !go_on)
    result_.finish_reason = eos ? "eos" : stream_.stopped() ? "stop" : "cancelled";
}

GenerateResult Answer::finish() {
  result_.text += stream_.finish();
  if (options_.sampling.temperature > 0.0F) {
    memory_.sampler = sampler_.state();
    memory_.sampler_seed = options_.sampling.seed;
  }
  return std::move(result_);
}

}  // namespace beacon
