#include "engine/generator.h"

#include <algorithm>

#include "base/check.h"
#include "engine/sampler.h"
#include "engine/stop.h"

namespace beacon {
namespace {

// Text that may be shown: whole characters, and nothing that may still become a stop string.
class TextStream {
 public:
  TextStream(std::shared_ptr<const Tokenizer> tokenizer, const std::vector<std::string>& stops)
      : decoder_(std::move(tokenizer), /*skip_special=*/true), stops_(stops) {}

  std::string push(int32_t id) { return stops_.push(decoder_.push(id)); }
  std::string finish() {
    std::string text = stops_.push(decoder_.finish());
    return text + stops_.finish();
  }
  bool stopped() const { return stops_.stopped(); }

 private:
  StreamDecoder decoder_;
  StopMatcher stops_;
};

bool ends(const GenerateOptions& options, const Tokenizer& tokenizer, int32_t id) {
  if (options.ignore_eos) return false;
  const auto& ids = options.eos_ids.empty() ? tokenizer.eos_ids() : options.eos_ids;
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

GenerateResult run_generation(const GenerateOptions& options, const GeneratorPorts& ports,
                              const TokenCallback& on_token) {
  require(options.max_new_tokens >= 0, ErrorCode::kInvalidArgument,
          "max_new_tokens is {}; 0 or more was expected", options.max_new_tokens);
  Memory::Impl& memory = *ports.memory;
  const auto& tokenizer = memory.model->impl().tokenizer;
  require(tokenizer != nullptr, ErrorCode::kNotFound,
          "the model has no tokenizer, so its tokens cannot be turned into text");
  Sampler sampler(options.sampling);
  if (memory.sampler && memory.sampler_seed == options.sampling.seed) sampler.restore(*memory.sampler);
  TextStream stream(tokenizer, options.stop);
  GenerateResult result;
  result.finish_reason = "length";
  while (static_cast<int64_t>(result.ids.size()) < options.max_new_tokens) {
    if (memory.pending) {
      if (!ports.has_room()) {
        result.finish_reason = "capacity";
        break;
      }
      ports.feed_pending();
    }
    const at::Tensor logits = ports.logits();
    const int32_t id =
        sampler.sample({logits.const_data_ptr<float>(), static_cast<size_t>(logits.numel())}, memory.recent);
    memory.pending = id;
    result.ids.push_back(id);
    const bool eos = ends(options, *tokenizer, id);
    const std::string text = eos ? std::string() : stream.push(id);
    result.text += text;
    const bool go_on = !on_token || on_token({id, text});
    if (eos || stream.stopped() || !go_on) {
      result.finish_reason = eos ? "eos" : stream.stopped() ? "stop" : "cancelled";
      break;
    }
  }
  result.text += stream.finish();
  if (options.sampling.temperature > 0.0F) {
    memory.sampler = sampler.state();
    memory.sampler_seed = options.sampling.seed;
  }
  return result;
}

}  // namespace beacon
