#pragma once
// Negative log-likelihood of texts, depending on what the model may remember of them.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/scoring.h"
#include "eval/documents.h"
#include "eval/statistics.h"

namespace beacon::eval {

struct PerplexityOptions {
  int64_t from = 4096;  // first token scored, at least 1
  int64_t to = 8192;    // one past the last; what comes after it is not read
  Remembering remembering = Remembering::kBeacons;
  SessionOptions session;
};

struct DocumentScore {
  std::string name;
  int64_t tokens = 0;  // scored
  double nll = 0;      // nats per token
  // From stretches of 128 tokens taken as independent; nothing when there are fewer than two of them.
  std::optional<Interval> ci95;
};

struct PerplexityResult {
  double nll = 0;                // nats per token, over the tokens of all documents
  int64_t tokens = 0;            // scored
  std::optional<Interval> ci95;  // the documents taken as independent; nothing for fewer than two
  std::vector<DocumentScore> documents;
  std::vector<std::string> too_short;  // names of documents without a token to score
};

// Scores tokens [from, to) of each document, or as many of them as it has. Token 0 is the first the tokenizer
// gives, BOS included where it adds one. `progress` counts tokens over all documents. Throws kInvalidArgument
// for a range that holds nothing, kBadFile when every document is too short, and as score_tokens() does.
PerplexityResult measure_perplexity(const Model& model, const std::vector<Document>& documents,
                                    const PerplexityOptions& options, const ProgressCallback& progress = {});

}  // namespace beacon::eval
