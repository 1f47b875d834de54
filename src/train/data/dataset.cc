#include "train/data/dataset.h"

#include <xxhash.h>

#include <algorithm>

#include "base/check.h"
#include "base/random.h"
#include "window/labels.h"

namespace beacon::train {
namespace {

// The longest stretch of a dialogue that is only read.
ScoredRun longest_unscored(std::span<const ScoredRun> runs, uint64_t length) {
  ScoredRun best{0, 0};
  uint32_t at = 0;
  const auto consider = [&](uint32_t end) {
    if (end - at > best.end - best.begin) best = {at, end};
  };
  for (const ScoredRun& run : runs) {
    consider(run.begin);
    at = run.end;
  }
  consider(static_cast<uint32_t>(length));
  return best;
}

}  // namespace

LongText long_text_from_string(const std::string& name) {
  if (name == "cut") return LongText::kCut;
  if (name == "truncate") return LongText::kTruncate;
  if (name == "drop") return LongText::kDrop;
  fail(ErrorCode::kInvalidArgument, "long texts: expected cut, truncate or drop, found '{}'", name);
}

LongDialogue long_dialogue_from_string(const std::string& name) {
  if (name == "drop") return LongDialogue::kDrop;
  if (name == "shorten") return LongDialogue::kShorten;
  fail(ErrorCode::kInvalidArgument, "long dialogues: expected drop or shorten, found '{}'", name);
}

Dataset::Dataset(const DatasetOptions& options, const Encoder& encoder, const ImportProgress& progress)
    : options_(options) {
  constexpr int64_t kLongest = int64_t{1} << 28;
  require(options.min_length >= 1 && options.min_length <= options.max_length && options.max_length >= 2 &&
              options.max_length <= kLongest,
          ErrorCode::kInvalidArgument,
          "lengths: expected 1 <= min <= max <= {} and a max of 2 or more, found {} and {}", kLongest,
          options.min_length, options.max_length);
  require(!options.sources.empty(), ErrorCode::kInvalidArgument,
          "expected at least one data source, found none");
  for (const DataSource& source : options.sources)
    add_source(source, import_source(source, encoder, options.cache_folder, progress));
  std::string identity = encoder.fingerprint();
  for (const auto& cache : caches_) identity += cache->header().key;
  for (const Entry& e : samples_)
    identity += fmt::format("|{},{},{},{},{}", e.cache, e.begin, e.length, e.removed, int{e.bos});
  fingerprint_ = XXH3_64bits(identity.data(), identity.size());
}

void Dataset::add_source(const DataSource& source, std::shared_ptr<const TokenCache> cache) {
  const auto number = static_cast<uint32_t>(caches_.size());
  DatasetPart part;
  part.path = source.path.string();
  part.weight = source.weight;
  part.begin = size();
  part.documents = cache->num_documents();
  part.broken = cache->header().broken;
  require(part.documents <= UINT32_MAX, ErrorCode::kBadFile, "{}: more documents than can be counted",
          part.path);
  caches_.push_back(cache);
  for (int64_t d = 0; d < part.documents;) {
    if (cache->document(d).kind != ExampleKind::kText) {
      add_dialogue(number, d++, part);
      continue;
    }
    int64_t last = d + 1;
    while (options_.pack && last < part.documents && cache->document(last).kind == ExampleKind::kText) ++last;
    add_texts(number, d, last, part);
    d = last;
  }
  apply_limit(source, static_cast<int64_t>(number), part);
  part.end = size();
  require(part.begin < part.end, ErrorCode::kBadFile,
          "{}: no sample is left ({} documents, {} samples too short, {} documents too long)", part.path,
          part.documents, part.dropped_short, part.dropped_long);
  count_tokens(part);
  parts_.push_back(part);
}

// Documents [first, last) one after the other; they are neighbours in the cache.
void Dataset::add_texts(uint32_t cache, int64_t first, int64_t last, DatasetPart& part) {
  const TokenCache& tokens = *caches_[cache];
  const uint64_t begin = tokens.document(first).begin, end = tokens.document(last - 1).end;
  const bool fits = end - begin <= static_cast<uint64_t>(options_.max_length);
  if (!fits && !options_.pack && options_.long_text == LongText::kDrop) {
    ++part.dropped_long;
    return;
  }
  add_text_range(cache, first, begin, end, part);
}

void Dataset::add_text_range(uint32_t cache, int64_t document, uint64_t begin, uint64_t end,
                             DatasetPart& part) {
  const TokenCache& tokens = *caches_[cache];
  const bool one = !options_.pack && options_.long_text == LongText::kTruncate;
  for (uint64_t at = begin; at < end;) {
    while (at >= tokens.document(document).end) ++document;
    // A text that begins elsewhere than at its start is given the first token every text has.
    const bool bos = tokens.header().bos >= 0 && at != tokens.document(document).begin;
    const uint64_t room = static_cast<uint64_t>(options_.max_length) - (bos ? 1 : 0);
    const uint64_t count = std::min(room, end - at);
    add_entry(
        {at, static_cast<uint32_t>(count + (bos ? 1 : 0)), static_cast<uint32_t>(document), cache, 0, bos},
        part);
    at += count;
    if (one) return;
  }
}

void Dataset::add_dialogue(uint32_t cache, int64_t document, DatasetPart& part) {
  const TokenDocument doc = caches_[cache]->document(document);
  const uint64_t length = doc.end - doc.begin;
  const auto most = static_cast<uint64_t>(options_.max_length);
  Entry entry{doc.begin, static_cast<uint32_t>(length), static_cast<uint32_t>(document), cache, 0, false};
  if (length > most) {
    const ScoredRun only_read = longest_unscored(doc.runs, length);
    const uint64_t excess = length - most;
    // What is left of the stretch begins and ends it: at least a token each.
    const bool enough = only_read.end - only_read.begin >= excess + 2;
    if (options_.long_dialogue == LongDialogue::kDrop || !enough) {
      ++part.dropped_long;
      return;
    }
    entry.removed = static_cast<uint32_t>(excess);
    entry.length = static_cast<uint32_t>(most);
  }
  add_entry(entry, part);
}

void Dataset::add_entry(const Entry& entry, DatasetPart& part) {
  if (static_cast<int64_t>(entry.length) < options_.min_length)
    ++part.dropped_short;
  else
    samples_.push_back(entry);
}

void Dataset::apply_limit(const DataSource& source, int64_t number, DatasetPart& part) {
  const int64_t count = size() - part.begin;
  if (source.limit <= 0 || count <= source.limit) return;
  std::vector<int64_t> order(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) order[static_cast<size_t>(i)] = part.begin + i;
  Random random(options_.seed, {static_cast<uint64_t>(number)});
  random.shuffle(order);
  order.resize(static_cast<size_t>(source.limit));
  std::sort(order.begin(), order.end());
  std::vector<Entry> kept;
  for (const int64_t i : order) kept.push_back(samples_[static_cast<size_t>(i)]);
  samples_.resize(static_cast<size_t>(part.begin));
  samples_.insert(samples_.end(), kept.begin(), kept.end());
  part.over_limit = count - source.limit;
}

void Dataset::count_tokens(DatasetPart& part) const {
  for (int64_t i = part.begin; i < part.end; ++i) {
    const Entry& entry = samples_[static_cast<size_t>(i)];
    part.tokens += entry.length;
    const TokenDocument document = caches_[entry.cache]->document(entry.document);
    if (document.kind == ExampleKind::kText) {
      part.scored_tokens += entry.length - (entry.bos ? 1 : 0);
    } else {
      for (const ScoredRun& run : document.runs) part.scored_tokens += run.end - run.begin;
    }
  }
}

int64_t Dataset::length(int64_t index) const {
  BEACON_CHECK(index >= 0 && index < size());
  return samples_[static_cast<size_t>(index)].length;
}

Sample Dataset::at(int64_t index) const {
  BEACON_CHECK(index >= 0 && index < size());
  const Entry& entry = samples_[static_cast<size_t>(index)];
  Sample sample = caches_[entry.cache]->document(entry.document).kind == ExampleKind::kText
                      ? text_sample(entry)
                      : dialogue_sample(entry);
  sample.source = source_name(entry);
  return sample;
}

Sample Dataset::text_sample(const Entry& entry) const {
  const TokenCache& cache = *caches_[entry.cache];
  Sample sample;
  sample.ids.resize(entry.length);
  const size_t first = entry.bos ? 1 : 0;
  cache.copy_tokens(entry.begin, std::span(sample.ids).subspan(first));
  sample.labels = sample.ids;
  if (entry.bos) {
    sample.ids[0] = cache.header().bos;
    sample.labels[0] = kIgnoredLabel;
  }
  return sample;
}

Sample Dataset::dialogue_sample(const Entry& entry) const {
  const TokenCache& cache = *caches_[entry.cache];
  const TokenDocument document = cache.document(entry.document);
  Sample sample;
  sample.ids.resize(document.end - document.begin);
  cache.copy_tokens(document.begin, sample.ids);
  sample.labels.assign(sample.ids.size(), kIgnoredLabel);
  for (const ScoredRun& run : document.runs)
    std::copy(sample.ids.begin() + run.begin, sample.ids.begin() + run.end,
              sample.labels.begin() + run.begin);
  if (entry.removed > 0) {
    const ScoredRun only_read = longest_unscored(document.runs, sample.ids.size());
    const ptrdiff_t spare = ptrdiff_t{only_read.end} - only_read.begin - entry.removed;
    const ptrdiff_t middle = only_read.begin + spare / 2;
    for (auto* list : {&sample.ids, &sample.labels})
      list->erase(list->begin() + middle, list->begin() + middle + entry.removed);
  }
  return sample;
}

std::string Dataset::source_name(const Entry& entry) const {
  const TokenCache& cache = *caches_[entry.cache];
  const TokenDocument document = cache.document(entry.document);
  const std::string& file = cache.header().files[document.file];
  return document.line == 0 ? file : fmt::format("{}:{}", file, document.line);
}

}  // namespace beacon::train
