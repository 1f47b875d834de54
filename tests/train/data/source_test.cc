#include "train/data/source.h"

#include <beacon/error.h>
#include <gmock/gmock.h>

#include "data_fixture.h"

namespace beacon::train {
namespace {

using beacon::testing::bpe_tokenizer;
using beacon::testing::DataFolder;
using beacon::testing::LogCatcher;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Source, Spelling) {
  EXPECT_EQ(parse_source("a/b.jsonl").path, "a/b.jsonl");
  const DataSource both = parse_source("dir[5000]*2.5");
  EXPECT_EQ(both.path, "dir");
  EXPECT_EQ(both.limit, 5000);
  EXPECT_DOUBLE_EQ(both.weight, 2.5);
  EXPECT_EQ(parse_source("x[7]").limit, 7);
  for (const char* text :
       {"", "[5]", "x[0]", "x[-1]", "x[]", "x5]", "x*", "x*0", "x*-1", "x*nan", "x*1e9", "x[5]y]"})
    EXPECT_THROW(parse_source(text), Error) << text;
}

std::vector<std::string> texts(const TokenCache& cache, const Tokenizer& tokenizer) {
  std::vector<std::string> out;
  for (int64_t d = 0; d < cache.num_documents(); ++d) {
    const TokenDocument document = cache.document(d);
    std::vector<int32_t> ids(document.end - document.begin);
    cache.copy_tokens(document.begin, ids);
    out.push_back(tokenizer.decode(ids, /*skip_special=*/true));
  }
  return out;
}

TEST(Source, FoldersInTheOrderOfNames) {
  const DataFolder folder;
  folder.write("data/b.txt", "The second.");
  folder.write("data/a.jsonl", "{\"text\": \"The first.\"}\n{\"text\": \"And more.\"}\n");
  folder.write("data/c.md", "not this");
  folder.write("data/deeper/a.txt", "nor this");
  const Encoder encoder(bpe_tokenizer(), "");
  const auto cache = import_source({folder.path() / "data"}, encoder, folder.cache());
  EXPECT_THAT(texts(*cache, encoder.tokenizer()), ElementsAre("The first.", "And more.", "The second."));
  EXPECT_EQ(cache->document(1).line, 2u);
  EXPECT_EQ(cache->document(2).line, 0u);
  EXPECT_THAT(cache->header().files, ElementsAre("a.jsonl", "b.txt"));
}

TEST(Source, BrokenLinesAreNamedAndCountedEveryTime) {
  const DataFolder folder;
  const auto path = folder.write("x.jsonl",
                                 "{\"text\": \"good\"}\n"
                                 "{\"text\": \n"
                                 "\n"
                                 "{\"text\": 5}\n"
                                 "[]\n"
                                 "{\"conversations\": [{\"role\": \"user\", \"content\": \"q\"},"
                                 " {\"role\": \"assistant\", \"content\": \"a\"}]}\n"
                                 "{\"text\": \"bad \xFF\"}\n"
                                 "{\"text\": \"also good\"}");
  const Encoder encoder(bpe_tokenizer(), "");
  for (int time = 0; time < 2; ++time) {  // the second time from the cache
    LogCatcher log;
    const auto cache = import_source({path}, encoder, folder.cache());
    EXPECT_THAT(texts(*cache, encoder.tokenizer()), ElementsAre("good", "also good"));
    EXPECT_EQ(cache->header().broken, 5);
    ASSERT_EQ(log.lines.size(), 6u);
    EXPECT_THAT(log.lines[0], HasSubstr("x.jsonl:2: "));
    EXPECT_THAT(log.lines[1], HasSubstr("x.jsonl:4: "));
    EXPECT_THAT(log.lines[2], HasSubstr("x.jsonl:5: "));
    EXPECT_THAT(log.lines[3], HasSubstr("x.jsonl:6: a conversation needs a chat template"));
    EXPECT_THAT(log.lines[4], HasSubstr("x.jsonl:7: "));
    EXPECT_THAT(log.lines[5], HasSubstr("5 lines or files"));
  }
}

TEST(Source, CacheIsMadeOnceForTheSameBytesAndEncoder) {
  const DataFolder folder;
  const auto path = folder.write("x.txt", "Some words.");
  const Encoder encoder(bpe_tokenizer(), "");
  int reads = 0;
  const auto import = [&](const Encoder& with) {
    import_source({path}, with, folder.cache(), [&](uint64_t, uint64_t) {
      ++reads;
      return true;
    });
    return std::distance(std::filesystem::directory_iterator(folder.cache()), {});
  };
  EXPECT_EQ(import(encoder), 1);
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(import(encoder), 1);
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(import(Encoder(bpe_tokenizer(), "chatml")), 2);
  folder.write("x.txt", "Other words");
  EXPECT_EQ(import(encoder), 3);
  EXPECT_EQ(reads, 3);
}

TEST(Source, ADamagedCacheIsMadeAgain) {
  const DataFolder folder;
  const auto path = folder.write("x.txt", "Some words.");
  const Encoder encoder(bpe_tokenizer(), "");
  import_source({path}, encoder, folder.cache());
  const auto file = std::filesystem::directory_iterator(folder.cache())->path();
  std::filesystem::resize_file(file, std::filesystem::file_size(file) - 1);
  LogCatcher log;
  const auto cache = import_source({path}, encoder, folder.cache());
  EXPECT_THAT(texts(*cache, encoder.tokenizer()), ElementsAre("Some words."));
  ASSERT_EQ(log.lines.size(), 1u);
  EXPECT_THAT(log.lines[0], HasSubstr("again"));
}

TEST(Source, Failures) {
  const DataFolder folder;
  const Encoder encoder(bpe_tokenizer(), "");
  const auto code = [&](const std::filesystem::path& path) {
    try {
      import_source({path}, encoder, folder.cache(), [](uint64_t, uint64_t) { return false; });
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code(folder.path() / "nowhere.jsonl"), ErrorCode::kNotFound);
  std::filesystem::create_directory(folder.path() / "empty");
  EXPECT_EQ(code(folder.path() / "empty"), ErrorCode::kBadFile);
  EXPECT_EQ(code(folder.write("empty.txt", "")), ErrorCode::kBadFile);
  EXPECT_EQ(code(folder.write("x.txt", "words")), ErrorCode::kCancelled);
  EXPECT_TRUE(std::filesystem::is_empty(folder.cache()));  // nothing half made is left
}

}  // namespace
}  // namespace beacon::train
