#include "eval/perplexity.h"

#include <algorithm>

#include "base/check.h"

namespace beacon::eval {
namespace {

// Losses of neighbouring tokens go together; those of stretches this long hardly do.
constexpr size_t kStretch = 128;

DocumentScore score_of(const std::string& name, const std::vector<float>& log_probabilities) {
  std::vector<Cluster> stretches;
  for (size_t i = 0; i < log_probabilities.size(); ++i) {
    if (i % kStretch == 0) stretches.emplace_back();
    stretches.back().sum -= static_cast<double>(log_probabilities[i]);
    ++stretches.back().count;
  }
  return {name, static_cast<int64_t>(log_probabilities.size()), mean(stretches), mean_interval(stretches)};
}

// The tokens that are read, of each document that is long enough.
std::vector<std::vector<int32_t>> tokenize(const Model& model, const std::vector<Document>& documents,
                                           const PerplexityOptions& options, PerplexityResult& result) {
  std::vector<std::vector<int32_t>> texts;
  for (const Document& document : documents) {
    std::vector<int32_t> ids = model.tokenizer().encode(document.text);
    if (static_cast<int64_t>(ids.size()) <= options.from) {
      result.too_short.push_back(document.name);
      ids.clear();
    }
    ids.resize(std::min(ids.size(), static_cast<size_t>(options.to)));
    texts.push_back(std::move(ids));
  }
  require(result.too_short.size() < documents.size(), ErrorCode::kBadFile,
          "no document has more than {} tokens; give longer texts or start earlier", options.from);
  return texts;
}

}  // namespace

PerplexityResult measure_perplexity(const Model& model, const std::vector<Document>& documents,
                                    const PerplexityOptions& options, const ProgressCallback& progress) {
  require(options.from >= 1 && options.from < options.to, ErrorCode::kInvalidArgument,
          "tokens [{}, {}): expected a range that starts at 1 or later and holds a token", options.from,
          options.to);
  PerplexityResult result;
  const auto texts = tokenize(model, documents, options, result);
  int64_t total = 0, done = 0;
  for (const auto& ids : texts) total += static_cast<int64_t>(ids.size());

  const ScoreOptions score{options.session, options.remembering, options.from};
  std::vector<Cluster> clusters;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) continue;
    const auto scores = score_tokens(model, score, texts[i], [&](const Progress& p) {
      return !progress || progress({done + p.tokens_done, total});
    });
    done += static_cast<int64_t>(texts[i].size());
    result.documents.push_back(score_of(documents[i].name, scores));
    const DocumentScore& document = result.documents.back();
    clusters.push_back({document.nll * static_cast<double>(document.tokens), document.tokens});
    result.tokens += document.tokens;
  }
  result.nll = mean(clusters);
  result.ci95 = mean_interval(clusters);
  return result;
}

}  // namespace beacon::eval
