#include "tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "tokenizer/utf8.h"

namespace beacon {

bool is_unicode_space(char32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool is_unicode_word(char32_t code) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(code))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      break;
  }
  // The joiners, and the enclosed letters, which are alphabetic without being letters.
  return code == 0x200C || code == 0x200D || (code >= 0x24B6 && code <= 0x24E9) ||
         (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
         (code >= 0x1F170 && code <= 0x1F189);
}

namespace {

void decompose(std::string_view text, bool compatible, std::vector<utf8proc_int32_t>& out) {
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                      (compatible ? UTF8PROC_COMPAT : 0));
  utf8proc_int32_t buffer[32];
  int last_boundary_class = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_valid_utf8(text, at);
    at += step.bytes;
    if (step.code < 0xA0) {
      out.push_back(static_cast<utf8proc_int32_t>(step.code));
      continue;
    }
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(step.code), buffer, 32, options,
                                               &last_boundary_class);
    BEACON_CHECK(count >= 0 && count <= 32);
    out.insert(out.end(), buffer, buffer + count);
  }
}

// Canonical ordering. utf8proc sorts by exchanging neighbours, which takes forever on a long run of marks.
void order_marks(std::vector<utf8proc_int32_t>& codes) {
  const auto mark_class = [](utf8proc_int32_t code) {
    return code < 0x300 ? 0 : static_cast<int>(utf8proc_get_property(code)->combining_class);
  };
  for (size_t i = 0; i < codes.size();) {
    if (mark_class(codes[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i + 1;
    while (end < codes.size() && mark_class(codes[end]) != 0) ++end;
    if (end - i > 1)
      std::stable_sort(codes.begin() + static_cast<ptrdiff_t>(i), codes.begin() + static_cast<ptrdiff_t>(end),
                       [&](auto a, auto b) { return mark_class(a) < mark_class(b); });
    i = end;
  }
}

// Nothing below U+0300 composes, reorders or, being composed already, changes under NFC.
bool is_plain_nfc(std::string_view text) {
  for (const char c : text)
    if (static_cast<unsigned char>(c) >= 0xCC) return false;
  return true;
}

}  // namespace

std::string normalize_unicode(std::string_view text, NormalForm form) {
  if (form == NormalForm::kNfc && is_plain_nfc(text)) return std::string(text);
  const bool compatible = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  std::vector<utf8proc_int32_t> codes;
  codes.reserve(text.size());
  decompose(text, compatible, codes);
  order_marks(codes);
  if (form == NormalForm::kNfc || form == NormalForm::kNfkc) {
    const auto count =
        utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()),
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    BEACON_CHECK(count >= 0);
    codes.resize(static_cast<size_t>(count));
  }
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  for (const auto code : codes) append_utf8(out, static_cast<char32_t>(code));
  return out;
}

std::string_view strip_python(std::string_view text) {
  // str.isspace() has the four separators U+001C to U+001F besides White_Space.
  const auto is_space = [](char32_t code) {
    return is_unicode_space(code) || (code >= 0x1C && code <= 0x1F);
  };
  size_t begin = 0;
  size_t end = 0;
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = read_utf8(text, at);
    at += step.bytes;
    const bool space = step.kind == Utf8Kind::kCharacter && is_space(step.code);
    if (space && end == 0) begin = at;
    if (!space) end = at;
  }
  return end <= begin ? std::string_view() : text.substr(begin, end - begin);
}

}  // namespace beacon
