#include "eval/passkey.h"

#include "base/check.h"

namespace beacon::eval {
namespace {

void check(const PasskeyOptions& options) {
  require(
      !options.lengths.empty() && options.depths >= 1 && options.samples >= 1 && options.max_new_tokens >= 1,
      ErrorCode::kInvalidArgument,
      "expected lengths and at least one depth, sample and new token; found {}, {}, {} and {}",
      options.lengths.size(), options.depths, options.samples, options.max_new_tokens);
}

bool answers(const std::shared_ptr<const Model>& model, const PasskeyPrompt& prompt,
             const PasskeyOptions& options, const ProgressCallback& go_on) {
  SessionOptions session_options = options.session;
  if (session_options.beacons.expected_tokens == 0)
    session_options.beacons.expected_tokens = static_cast<int64_t>(prompt.ids.size());
  Session session(model, session_options);
  session.feed(prompt.ids, go_on);
  GenerateOptions generate;
  generate.max_new_tokens = options.max_new_tokens;
  generate.sampling.temperature = 0;
  return session.generate(generate).text.find(prompt.key) != std::string::npos;
}

}  // namespace

PasskeyResult measure_passkey(const std::shared_ptr<const Model>& model,
                              const std::vector<Document>& haystack, const PasskeyOptions& options,
                              const std::function<bool(int64_t done, int64_t total)>& on_sample) {
  check(options);
  const int64_t total = static_cast<int64_t>(options.lengths.size()) * options.samples;
  int64_t done = 0;
  const ProgressCallback go_on = [&](const Progress&) { return !on_sample || on_sample(done, total); };
  PasskeyResult result;
  for (const int64_t length : options.lengths) {
    PasskeyLength row;
    row.length = length;
    row.depths.resize(static_cast<size_t>(options.depths));
    for (int64_t i = 0; i < options.samples; ++i) {
      const PasskeyPrompt prompt = make_passkey_prompt(model->tokenizer(), haystack, options, length, i);
      const int64_t right = answers(model, prompt, options, go_on) ? 1 : 0;
      row.mean_tokens += static_cast<int64_t>(prompt.ids.size());
      for (Tally* tally : {&result.all, &row.all, &row.depths[static_cast<size_t>(prompt.depth)]}) {
        tally->right += right;
        ++tally->total;
      }
      ++done;
      require(!on_sample || on_sample(done, total), ErrorCode::kCancelled, "stopped after {} of {} samples",
              done, total);
    }
    row.mean_tokens /= options.samples;
    result.lengths.push_back(std::move(row));
  }
  return result;
}

}  // namespace beacon::eval
