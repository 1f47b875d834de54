#include "eval/documents.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

#include "eval_fixture.h"

namespace beacon::eval {
namespace {

using beacon::testing::TemporaryFolder;
using ::testing::HasSubstr;

std::string failure(const std::filesystem::path& path, ErrorCode code) {
  try {
    load_documents(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

TEST(Documents, FilesLinesAndFolders) {
  const TemporaryFolder folder;
  const auto text = folder.write("b.txt", "A text.\n");
  const auto lines =
      folder.write("a.jsonl", "\xEF\xBB\xBF{\"text\": \"one\"}\r\n\n{\"text\": \"two\", \"more\": 1}");
  folder.write("ignored.bin", "x");
  const auto one = load_documents(text);
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].name, "b.txt");
  EXPECT_EQ(one[0].text, "A text.\n");
  const auto two = load_documents(lines);
  ASSERT_EQ(two.size(), 2u);
  EXPECT_EQ(two[1].name, "a.jsonl:3");
  EXPECT_EQ(two[1].text, "two");
  const auto all = load_documents(folder.path());
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[2].name, "b.txt");
}

TEST(Documents, FaultsAreNamed) {
  const TemporaryFolder folder;
  EXPECT_THAT(failure(folder.path(), ErrorCode::kBadFile), HasSubstr("holds no text"));
  EXPECT_THAT(failure(folder.path() / "nowhere", ErrorCode::kNotFound), HasSubstr("nowhere"));
  const auto broken = folder.write("broken.jsonl", "{\"text\": \"x\"}\n{\"text\": \n");
  EXPECT_THAT(failure(broken, ErrorCode::kBadFile), HasSubstr("broken.jsonl:2"));
  const auto wrong = folder.write("wrong.jsonl", "{\"text\": 5}\n");
  EXPECT_THAT(failure(wrong, ErrorCode::kBadFile), HasSubstr("wrong.jsonl:1"));
  const auto missing = folder.write("missing.jsonl", "{\"words\": \"x\"}\n");
  EXPECT_THAT(failure(missing, ErrorCode::kBadFile), HasSubstr("\"text\""));
}

}  // namespace
}  // namespace beacon::eval
