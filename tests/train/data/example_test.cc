#include "train/data/example.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

namespace beacon::train {
namespace {

using ::testing::HasSubstr;

Example parse(const std::string& text) { return parse_example(parse_json_object(text, "x"), "file:3"); }

std::string failure(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadFile);
    return error.what();
  }
  ADD_FAILURE() << "no error for " << text;
  return {};
}

TEST(Example, ThreeKinds) {
  EXPECT_EQ(parse(R"({"text": "a", "more": [1]})").text, "a");
  const Example chat = parse(
      R"({"conversations": [{"role": "system", "content": ""}, {"role": "user", "content": "q"},
                            {"role": "assistant", "content": "a"}]})");
  EXPECT_EQ(chat.kind, ExampleKind::kConversation);
  ASSERT_EQ(chat.messages.size(), 3u);
  EXPECT_EQ(chat.messages[2].content, "a");
  const Example pair = parse(R"({"input": "i", "output": "o"})");
  EXPECT_EQ(pair.kind, ExampleKind::kPair);
  EXPECT_EQ(pair.output, "o");
}

TEST(Example, FaultsBeginWithFileAndLine) {
  for (const char* text :
       {"{}", R"({"text": ""})", R"({"text": 1})", R"({"text": "a", "input": "b", "output": "c"})",
        R"({"input": "b"})", R"({"output": "b"})", R"({"input": "", "output": "b"})",
        R"({"conversations": []})", R"({"conversations": {}})", R"({"conversations": [1]})",
        R"({"conversations": [{"role": "user", "content": "q"}]})",
        R"({"conversations": [{"role": "tool", "content": "q"}]})",
        R"({"conversations": [{"role": "assistant"}]})",
        R"({"conversations": [{"role": "assistant", "content": ""}]})"})
    EXPECT_THAT(failure(text), ::testing::StartsWith("file:3")) << text;
  EXPECT_THAT(
      failure(R"({"conversations": [{"role": "user", "content": "q"}, {"role": "bot", "content": "a"}]})"),
      HasSubstr("turn 2"));
}

}  // namespace
}  // namespace beacon::train
