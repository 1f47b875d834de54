#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "tokenizer/unicode_additions.h"

namespace beacon {
namespace {

constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kHeapLimitKiB = 256 * 1024;
constexpr size_t kJitStackBytes = 8u << 20;
constexpr size_t kMaxPatternBytes = 16 * 1024;

// PCRE2's \s also holds U+180E, and its \w lacks the marks.
constexpr std::string_view kSpaceClass = "\\x09-\\x0D\\x{85}\\p{Z}";
constexpr std::string_view kWordClass = "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}";

struct Property {
  std::string_view name;
  std::string_view additions;
};
constexpr Property kGrownProperties[] = {
    {"\\p{L}", kNewLetters}, {"\\p{N}", kNewNumbers}, {"\\p{M}", kNewMarks}};

[[noreturn]] void refuse(std::string_view pattern, std::string_view construct) {
  fail(ErrorCode::kUnsupported,
       "the pre-tokenizer's regular expression '{}' uses {}, which we do not support", pattern.substr(0, 80),
       construct);
}

// The escape at pattern[at] (which is the backslash), translated; moves `at` past it.
void translate_escape(std::string_view pattern, size_t& at, bool in_class, std::string& out) {
  require(at + 1 < pattern.size(), ErrorCode::kBadFile, "a regular expression ends in a backslash: '{}'",
          pattern.substr(0, 80));
  const char c = pattern[at + 1];
  const auto put_class = [&](const std::string& members, bool negated) {
    if (in_class && !negated) {
      out.append(members);
    } else {
      out.append(negated ? "[^" : "[").append(members).append("]");
    }
  };
  if (c == 's' || (c == 'S' && !in_class)) {
    put_class(std::string(kSpaceClass), c == 'S');
  } else if (c == 'w' || (c == 'W' && !in_class)) {
    put_class(std::string(kWordClass), c == 'W');
  } else if (c == 'W' || c == 'h' || c == 'H' || c == 'X' || c == 'R' || c == 'K' || c == 'G' || c == 'y' ||
             c == 'Y' || c == 'C' || c == 'Q' || c == 'E' || c == 'k' || c == 'g' || c == 'O') {
    refuse(pattern, fmt::format("\\{}", c));
  } else {
    for (const Property& property : kGrownProperties) {
      if (!pattern.substr(at).starts_with(property.name)) continue;
      put_class(std::string(property.name) + std::string(property.additions), false);
      at += property.name.size();
      return;
    }
    // A name or number in braces belongs to the escape.
    size_t end = at + 2;
    if ((c == 'p' || c == 'P' || c == 'x') && end < pattern.size() && pattern[end] == '{') {
      end = pattern.find('}', end);
      require(end != std::string_view::npos, ErrorCode::kBadFile,
              "a regular expression has a brace without end: '{}'", pattern.substr(0, 80));
      ++end;
    }
    out.append(pattern.substr(at, end - at));
    at = end;
    return;
  }
  at += 2;
}

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t at = 0; at < pattern.size();) {
    const char c = pattern[at];
    const std::string_view rest = pattern.substr(at);
    if (c == '\\') {
      translate_escape(pattern, at, in_class, out);
      continue;
    }
    if (in_class) {
      if (c == '[') refuse(pattern, "a class within a class");
      if (rest.starts_with("&&")) refuse(pattern, "an intersection of classes");
      if (c == ']') in_class = false;
    } else if (c == '[') {
      in_class = true;
      // A bracket that comes first belongs to the class in PCRE2 and is an error or a warning elsewhere.
      if (rest.starts_with("[]") || rest.starts_with("[^]"))
        refuse(pattern, "an unescaped ] at the start of a class");
    } else if (rest.starts_with("(?") && rest.size() > 2) {
      const bool known = rest[2] == ':' || rest[2] == '=' || rest[2] == '!' || rest[2] == '>' ||
                         rest.starts_with("(?i:") || rest.starts_with("(?<=") || rest.starts_with("(?<!");
      if (!known) refuse(pattern, "a group of the kind " + std::string(rest.substr(0, 4)));
    } else if (rest.starts_with("(*")) {
      refuse(pattern, "a (* group");
    } else if (rest.starts_with("}+")) {
      refuse(pattern, "a possessive interval");
    }
    out.push_back(c);
    ++at;
  }
  return out;
}

struct RegexScratch::State {
  pcre2_match_data* match = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = nullptr;
  ~State() {
    pcre2_match_data_free(match);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

RegexScratch::RegexScratch() : state_(std::make_unique<State>()) {
  if (state_->match == nullptr || state_->context == nullptr) throw std::bad_alloc();
  pcre2_set_match_limit(state_->context, kMatchLimit);
  pcre2_set_heap_limit(state_->context, kHeapLimitKiB);
}
RegexScratch::~RegexScratch() = default;

Regex::Regex(std::string_view pattern) : pattern_(pattern) {
  require(pattern.size() <= kMaxPatternBytes, ErrorCode::kUnsupported,
          "a regular expression of {} bytes is longer than the {} that we accept", pattern.size(),
          kMaxPatternBytes);
  const std::string translated = oniguruma_to_pcre2(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Ruby's syntax, Oniguruma's default, lets ^ and $ match at every line.
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                                   &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR message[128] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    fail(ErrorCode::kBadFile, "expected a regular expression, found '{}': {}", pattern.substr(0, 80),
         reinterpret_cast<const char*>(message));
  }
  code_ = std::shared_ptr<const void>(
      code, [](const void* p) { pcre2_code_free(static_cast<pcre2_code*>(const_cast<void*>(p))); });
  pcre2_jit_compile(code,
                    PCRE2_JIT_COMPLETE);  // without it (no executable memory allowed) matching is only slower
}

std::optional<std::pair<size_t, size_t>> Regex::find(std::string_view text, size_t from,
                                                     RegexScratch& scratch) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  auto& state = *scratch.state_;
  const auto run = [&] {
    return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, PCRE2_NO_UTF_CHECK,
                       state.match, state.context);
  };
  int rc = run();
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT && state.stack == nullptr) {
    state.stack = pcre2_jit_stack_create(64 * 1024, kJitStackBytes, nullptr);
    pcre2_jit_stack_assign(state.context, nullptr, state.stack);
    rc = run();
  }
  if (rc == PCRE2_ERROR_NOMATCH) return std::nullopt;
  require(rc >= 0, ErrorCode::kBadFile,
          "the pre-tokenizer's regular expression '{}' needs more steps than we allow on this text (PCRE2 "
          "error {})",
          std::string_view(pattern_).substr(0, 80), rc);
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state.match);
  // \K is refused, so a match cannot begin after its end.
  return std::make_pair(static_cast<size_t>(bounds[0]), static_cast<size_t>(bounds[1]));
}

}  // namespace beacon
