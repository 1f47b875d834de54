#include "tokenizer/normalizer.h"

#include "base/check.h"

namespace beacon {
namespace {

// A replacement that is longer than what it replaces multiplies the text; a file must not make it a
// thousandfold.
constexpr size_t kMaxReplacementBytes = 64;
constexpr size_t kMaxSteps = 16;
constexpr size_t kMaxNormalizedBytes = size_t{1} << 31;

void check_size(size_t bytes) {
  require(bytes < kMaxNormalizedBytes, ErrorCode::kCapacity,
          "the normalizer made more than {} bytes of the text; give it in smaller pieces",
          kMaxNormalizedBytes);
}

std::string replace_all(std::string_view text, std::string_view what, std::string_view with) {
  std::string out;
  out.reserve(text.size() + text.size() / 2);
  size_t done = 0;
  for (size_t at = text.find(what); at != std::string_view::npos; at = text.find(what, done)) {
    out.append(text.substr(done, at - done)).append(with);
    check_size(out.size());
    done = at + what.size();
  }
  out.append(text.substr(done));
  return out;
}

std::string replace_all(std::string_view text, const Regex& what, std::string_view with) {
  std::string out;
  RegexScratch scratch;
  size_t done = 0;
  size_t from = 0;
  while (from <= text.size()) {
    const auto match = what.find(text, from, scratch);
    if (!match) break;
    out.append(text.substr(done, match->first - done)).append(with);
    check_size(out.size());
    done = match->second;
    from = match->second;
    if (match->first == match->second) {
      // An empty match: step over one character.
      ++from;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) ++from;
    }
  }
  out.append(text.substr(done));
  return out;
}

}  // namespace

void Normalizer::check_growth(std::string_view with) const {
  require(with.size() <= kMaxReplacementBytes, ErrorCode::kUnsupported,
          "expected a normalizer whose replacements have at most {} bytes, found one of {}",
          kMaxReplacementBytes, with.size());
  require(steps_.size() < kMaxSteps, ErrorCode::kUnsupported,
          "expected at most {} normalizer steps, found more", kMaxSteps);
}

void Normalizer::add_form(NormalForm form) {
  check_growth({});
  steps_.push_back({form, std::nullopt, {}, {}});
}

void Normalizer::add_prepend(std::string text) {
  check_growth(text);
  if (!text.empty()) steps_.push_back({std::nullopt, std::nullopt, {}, std::move(text)});
}

void Normalizer::add_replace(std::string what, std::string with) {
  check_growth(with);
  require(!what.empty(), ErrorCode::kBadFile,
          "expected a Replace normalizer with a pattern, found an empty one");
  steps_.push_back({std::nullopt, std::nullopt, std::move(what), std::move(with)});
}

void Normalizer::add_replace(Regex what, std::string with) {
  check_growth(with);
  steps_.push_back({std::nullopt, std::move(what), {}, std::move(with)});
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  for (const Step& step : steps_) {
    if (step.form) {
      out = normalize_unicode(out, *step.form);
    } else if (step.regex) {
      out = replace_all(out, *step.regex, step.with);
    } else if (!step.what.empty()) {
      out = replace_all(out, step.what, step.with);
    } else if (!out.empty()) {
      out.insert(0, step.with);
    }
    check_size(out.size());
  }
  return out;
}

}  // namespace beacon
