#include "cli/bench_run.h"

#include <beacon/batch.h>

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
  beacons.attention = options.attention;
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
  for (int run = -options.warm_up; run < options.runs; ++run) {
    session.reset();
    const auto start = std::chrono::steady_clock::now();
    session.feed(ids, go_on);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (run >= 0) result.tokens_per_s.push_back(static_cast<double>(length) / seconds);
  }
  result.ledger = session.ledger();
  return finished(std::move(result));
}

namespace {

// One run: tokens a second of all sessions together. The first token of each comes from what it read: what is
// timed is one forward for each token after it.
double decode_once(const std::shared_ptr<const Model>& model, std::vector<Session>& sessions,
                   const GenerateOptions& options, const TokenCallback& on_token) {
  if (sessions.size() == 1) {
    const GenerateResult answer = sessions[0].generate(options, on_token);
    require(answer.finish_reason != "cancelled", ErrorCode::kCancelled, "stopped");
    return static_cast<double>(answer.ids.size() - 1) / answer.generate_s;
  }
  Batch batch(model);
  for (Session& session : sessions) batch.add(session, options, on_token);
  batch.step();
  const auto start = std::chrono::steady_clock::now();
  int64_t tokens = 0;
  while (batch.size() > 0) {
    tokens += batch.size();
    for (const BatchAnswer& answer : batch.step())
      require(answer.result.finish_reason == "length", ErrorCode::kCancelled, "stopped");
  }
  return static_cast<double>(tokens) /
         std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

BenchResult bench_decode(const std::shared_ptr<const Model>& model, const BenchOptions& options,
                         int64_t length, const ProgressCallback& go_on) {
  std::vector<Session> sessions;
  sessions.emplace_back(model, session_options(options, length));
  sessions[0].feed(random_ids(*model, length, options.seed), go_on);
  for (int64_t i = 1; i < options.sequences; ++i) {
    sessions.push_back(sessions[0].clone());
    sessions.back().feed(random_ids(*model, i, options.seed + 1));
  }
  std::vector<std::shared_ptr<const Session::Mark>> marks;
  for (const Session& session : sessions) marks.push_back(session.mark());
  BenchResult result{.length = length, .ledger = sessions[0].ledger()};
  result.flops = decode_flops(model->info(), result.ledger.positions);
  const GenerateOptions generate{.max_new_tokens = options.decode_tokens, .ignore_eos = true};
  const TokenCallback on_token = [&](const GeneratedToken&) { return !go_on || go_on({}); };
  for (int run = -options.warm_up; run < options.runs; ++run) {
    for (size_t i = 0; i < sessions.size(); ++i) sessions[i].rewind(*marks[i]);
    const double tokens_per_s = decode_once(model, sessions, generate, on_token);
    if (run >= 0) result.tokens_per_s.push_back(tokens_per_s);
  }
  return finished(std::move(result));
}

}  // namespace beacon::cli
