#include "engine/stop.h"

#include <beacon/error.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace beacon {
namespace {

struct Result {
  std::string text;
  std::optional<size_t> matched;
  bool operator==(const Result&) const = default;
};

// The naive twin: looks at every end in turn, and among the stop strings that end there takes the longest.
Result twin(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    Result best{text, std::nullopt};
    for (size_t i = 0; i < stops.size(); ++i) {
      if (stops[i].size() > end || text.compare(end - stops[i].size(), stops[i].size(), stops[i]) != 0)
        continue;
      if (!best.matched || stops[i].size() > stops[*best.matched].size())
        best = {text.substr(0, end - stops[i].size()), i};
    }
    if (best.matched) return best;
  }
  return {text, std::nullopt};
}

// True when some stop string could still begin inside the last bytes of text.
bool ends_in_proper_prefix(const std::vector<std::string>& stops, const std::string& text) {
  for (const auto& stop : stops)
    for (size_t n = 1; n < stop.size() && n <= text.size(); ++n)
      if (text.compare(text.size() - n, n, stop, 0, n) == 0) return true;
  return false;
}

std::vector<std::string> all_strings(const std::string& alphabet, size_t max_length) {
  std::vector<std::string> all{""};
  for (size_t from = 0, length = 1; length <= max_length; ++length) {
    const size_t to = all.size();
    for (; from < to; ++from)
      for (const char c : alphabet) all.push_back(all[from] + c);
  }
  return all;
}

// Bit i of cuts: a border after byte i. Checks after each piece that nothing is emitted too early or too
// late.
Result run(const std::vector<std::string>& stops, const std::string& text, size_t cuts) {
  StopMatcher matcher(stops);
  const std::string final_text = twin(stops, text).text;
  Result result;
  size_t begin = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((cuts >> i & 1U) == 0 && i + 1 < text.size()) continue;
    result.text += matcher.push(std::string_view(text).substr(begin, i + 1 - begin));
    begin = i + 1;
    EXPECT_TRUE(final_text.starts_with(result.text)) << text;
    if (!matcher.stopped() && !ends_in_proper_prefix(stops, text.substr(0, begin))) {
      EXPECT_EQ(result.text, text.substr(0, begin)) << "held back without a reason";
    }
  }
  result.text += matcher.finish();
  result.matched = matcher.matched();
  return result;
}

TEST(StopMatcher, EveryChunkingOfEveryShortTextEqualsTheTwin) {
  const std::vector<std::vector<std::string>> sets{
      {"ab"},
      {"aa"},
      {"aba"},
      {"a", "ab"},
      {"ab", "b"},
      {"abab", "b"},
      {"abba", "bb"},
      {"aab", "aba"},
      {"abaab", "baab"},
      {"aaaa", "aab", "bab"},
      {"ab", "ab"},
      {},
  };
  size_t stopped = 0;
  for (const auto& stops : sets) {
    for (const auto& text : all_strings("ab", 7)) {
      const Result expected = twin(stops, text);
      stopped += expected.matched ? 1 : 0;
      const size_t borders = text.empty() ? 1 : size_t{1} << (text.size() - 1);
      for (size_t cuts = 0; cuts < borders; ++cuts)
        ASSERT_EQ(run(stops, text, cuts), expected)
            << text << " cuts " << cuts << " first stop " << stops.size();
    }
  }
  EXPECT_GT(stopped, 1000U);
}

TEST(StopMatcher, EveryPairOfShortStopsByteByByte) {
  const auto stops = all_strings("abc", 3);
  const auto texts = all_strings("abc", 5);
  for (size_t i = 1; i < stops.size(); ++i)
    for (size_t j = 1; j < stops.size(); j += 3) {
      const std::vector<std::string> pair{stops[i], stops[j]};
      for (size_t t = i % 5; t < texts.size(); t += 5)
        ASSERT_EQ(run(pair, texts[t], ~size_t{0}), twin(pair, texts[t]))
            << texts[t] << " " << pair[0] << " " << pair[1];
    }
}

TEST(StopMatcher, AcrossTokens) {
  StopMatcher m({"\nUser:", "</s>"});
  EXPECT_EQ(m.push("Hello\n"), "Hello");
  EXPECT_EQ(m.push("Us"), "");
  EXPECT_EQ(m.push("e us\nU"), "\nUse us");
  EXPECT_EQ(m.push("ser: more"), "");
  EXPECT_TRUE(m.stopped());
  EXPECT_EQ(m.matched(), 0U);
  EXPECT_EQ(m.push("ignored"), "");
  EXPECT_EQ(m.finish(), "");
}

TEST(StopMatcher, FinishGivesBackWhatWasHeld) {
  StopMatcher m({"stop"});
  EXPECT_EQ(m.push("non-sto"), "non-");
  EXPECT_EQ(m.finish(), "sto");
  EXPECT_EQ(m.push("p"), "");
  EXPECT_FALSE(m.stopped());
}

TEST(StopMatcher, ResetForgetsEverything) {
  StopMatcher m({"ab"});
  EXPECT_EQ(m.push("xa"), "x");
  m.reset();
  EXPECT_EQ(m.push("b"), "b");
  EXPECT_EQ(m.push("ab"), "");
  EXPECT_TRUE(m.stopped());
  m.reset();
  EXPECT_FALSE(m.stopped());
  EXPECT_EQ(m.push("bb"), "bb");
}

TEST(StopMatcher, NeverSplitsCharacters) {
  // The stop begins with the first byte of the text's character and ends with another.
  StopMatcher m({"\xC3\xA8"});
  EXPECT_EQ(m.push("caf\xC3\xA9"), "caf\xC3\xA9");
  EXPECT_EQ(m.push("cr\xC3\xA8me"), "cr");
  EXPECT_TRUE(m.stopped());
}

TEST(StopMatcher, EmptyStopIsRefused) {
  try {
    StopMatcher m({"a", ""});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInvalidArgument);
    EXPECT_STREQ(e.what(), "stop string 1 is empty: every text would stop at once");
  }
}

}  // namespace
}  // namespace beacon
