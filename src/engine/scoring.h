#pragma once
// How well a model foresees a text, depending on what it may remember of it.
#include <beacon/session.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace beacon {

// What is left of the text before the open window.
enum class Remembering {
  kBeacons,     // sink, beacons and raw tail: the memory as a Session builds it
  kEverything,  // all of it, raw: the plain model
  kTail,        // the same windows, sink and raw tail, no beacon anywhere; renumbered at every close
  kNothing,     // windows of the same size that start empty
};

struct ScoreOptions {
  SessionOptions session;  // window, stride, sink and ratio as for a Session; capacity likewise
  Remembering remembering = Remembering::kBeacons;
  int64_t from = 1;  // first token scored, at least 1: nothing foretells the first token
};

// ln p(ids[t] | ids[0..t) as remembered) in nats, for t in [from, number of ids). Throws kInvalidArgument
// when no token is left to score, and as Session::feed() does: kCapacity before anything is read, kCancelled.
std::vector<float> score_tokens(const Model& model, const ScoreOptions& options, std::span<const int32_t> ids,
                                const ProgressCallback& progress = {});

// How such a text would be read, every default filled in: a JSON object, for reports.
std::string reading_options_json(const Model& model, const ScoreOptions& options);

}  // namespace beacon
