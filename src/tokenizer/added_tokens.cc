#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace beacon {
namespace {

// Start of the last character of a non-empty valid text.
size_t last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

size_t space_at_end(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    const size_t at = last_character(text.substr(0, end));
    if (!is_unicode_space(read_valid_utf8(text, at).code)) break;
    end = at;
  }
  return end;
}

size_t space_at_start(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Utf8Step step = read_valid_utf8(text, at);
    if (!is_unicode_space(step.code)) break;
    at += step.bytes;
  }
  return at;
}

}  // namespace

bool TrustedRanges::covers(size_t begin, size_t end) const {
  if (all) return true;
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), begin,
                                      [](size_t value, const auto& range) { return value < range.first; });
  return after != ranges.begin() && std::prev(after)->second >= end;
}

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)), token_of_node_{-1} {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.text.empty(); });
  for (size_t i = 0; i < tokens_.size(); ++i) {
    uint32_t node = 0;
    for (const char c : tokens_[i].text) {
      const uint64_t edge = (uint64_t{node} << 8) | static_cast<unsigned char>(c);
      const auto [entry, is_new] = edges_.try_emplace(edge, static_cast<uint32_t>(token_of_node_.size()));
      if (is_new) token_of_node_.push_back(-1);
      node = entry->second;
    }
    token_of_node_[node] = static_cast<int32_t>(i);
    begins_token_[static_cast<unsigned char>(tokens_[i].text[0])] = true;
  }
}

AddedTokenMatcher::Match AddedTokenMatcher::match_at(std::string_view text, size_t at) const {
  Match best;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto edge = edges_.find((uint64_t{node} << 8) | static_cast<unsigned char>(text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (token_of_node_[node] >= 0) best = {i + 1, token_of_node_[node]};
  }
  return best;
}

bool AddedTokenMatcher::accepts(const AddedToken& token, std::string_view text, size_t begin, size_t end,
                                const TrustedRanges& trusted) const {
  if (token.special && !trusted.covers(begin, end)) return false;
  if (!token.single_word) return true;
  const auto word_before = [&] {
    const std::string_view before = text.substr(0, begin);
    return !before.empty() && is_unicode_word(read_valid_utf8(before, last_character(before)).code);
  };
  const auto word_after = [&] {
    return end < text.size() && is_unicode_word(read_valid_utf8(text, end).code);
  };
  return !word_before() && !word_after();
}

std::vector<TextSection> AddedTokenMatcher::split(std::string_view text, const TrustedRanges& trusted) const {
  std::vector<TextSection> sections;
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !tokens_.empty();) {
    if (!begins_token_[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const Match match = match_at(text, at);
    if (match.token < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(match.token)];
    size_t begin = at;
    size_t end = match.end;
    at = match.end;
    if (!accepts(token, text, begin, end, trusted)) continue;
    if (token.strip_left) begin = std::max(space_at_end(text.substr(0, begin)), done);
    if (token.strip_right) end += space_at_start(text.substr(end));
    if (done < begin) sections.push_back({done, begin, -1});
    sections.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) sections.push_back({done, text.size(), -1});
  return sections;
}

}  // namespace beacon
