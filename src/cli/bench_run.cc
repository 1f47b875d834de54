#include "cli/bench_run.h"

#include <algorithm>
#include <chrono>
#include <random>

#include "base/check.h"
#include "cli/bench_flops.h"

namespace beacon::cli {
namespace {

std::vector<int32_t> random_ids(const Model& model, int64_t length, uint64_t seed) {
  std::mt19937_64 generator(seed);
  const auto vocabulary = static_cast<uint64_t>(model.info().vocab_size);
  std::vector<int32_t> ids(static_cast<size_t>(length));
  for (auto& id : ids) id = static_cast<int32_t>(generator() % vocabulary);
  return ids;
}

SessionOptions session_options(const BenchOptions& options, int64_t length) {
  SessionOptions session;
  session.memory_type = options.memory_type;
  BeaconOptions& beacons = session.beacons;
  beacons.enabled = !options.no_beacons;
  beacons.window = options.window;
  beacons.stride = options.stride > 0 ? options.stride : options.window;
  beacons.ratios = {options.ratio};
  beacons.sink = options.sink;
  beacons.expected_tokens = length;
  beacons.beyond_positions = true;
  return session;
}

BenchResult finished(BenchResult result) {
  std::sort(result.tokens_per_s.begin(), result.tokens_per_s.end());
  return result;
}

}  // namespace

double BenchResult::median() const {
  const size_t n = tokens_per_s.size();
  return (tokens_per_s[(n - 1) / 2] + tokens_per_s[n / 2]) / 2;
}

BenchResult bench_prefill(const std::shared_ptr<const Model>& model, const BenchOptions& options,
                          int64_t length, const ProgressCallback& go_on) {
  const std::vector<int32_t> ids = random_ids(*model, length, options.seed);
  Session session(model, session_options(options, length));
  BenchResult result{.length = length, .flops = prefill_flops(model->info(), options, length)};
  for (int run = -1; run < options.runs; ++run) {
    session.reset();
    const auto start = std::chrono::steady_clock::now();
    session.feed(ids, go_on);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (run >= 0) result.tokens_per_s.push_back(static_cast<double>(length) / seconds);
  }
  result.ledger = session.ledger();
  return finished(std::move(result));
}

BenchResult bench_decode(const std::shared_ptr<const Model>& model, const BenchOptions& options,
                         int64_t length, const ProgressCallback& go_on) {
  Session session(model, session_options(options, length));
  session.feed(random_ids(*model, length, options.seed), go_on);
  const auto mark = session.mark();
  BenchResult result{.length = length, .ledger = session.ledger()};
  result.flops = decode_flops(model->info(), result.ledger.positions);
  GenerateOptions generate{.max_new_tokens = options.decode_tokens, .ignore_eos = true};
  const TokenCallback on_token = [&](const GeneratedToken&) { return !go_on || go_on({}); };
  for (int run = -1; run < options.runs; ++run) {
    session.rewind(*mark);
    const GenerateResult answer = session.generate(generate, on_token);
    require(answer.finish_reason != "cancelled", ErrorCode::kCancelled, "stopped");
    // The first token comes from the prefill: what is timed is one forward for each token after it.
    const auto forwards = static_cast<double>(answer.ids.size() - 1);
    if (run >= 0) result.tokens_per_s.push_back(forwards / answer.generate_s);
  }
  return finished(std::move(result));
}

}  // namespace beacon::cli
