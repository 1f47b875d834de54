// The cache gives back what was written, and nothing else passes for one.
#include "train/data/token_cache.h"

#include <beacon/error.h>
#include <gmock/gmock.h>
#include <xxhash.h>

#include <cstring>
#include <fstream>
#include <random>

#include "data_fixture.h"

namespace beacon::train {
namespace {

using beacon::testing::DataFolder;

TokenCacheHeader header() {
  TokenCacheHeader h;
  h.key = "key";
  h.files = {"a.jsonl", "b.txt"};
  h.broken = 2;
  h.problems = {"a.jsonl:3: broken \xFF"};
  return h;
}

std::vector<EncodedExample> examples(int32_t vocab) {
  return {{ExampleKind::kText, {1, vocab - 1, 3}, {{0, 3}}},
          {ExampleKind::kConversation, {5, 6, 7, 8, 9}, {{1, 2}, {3, 5}}},
          {ExampleKind::kPair, {4}, {}}};
}

std::filesystem::path write_cache(const DataFolder& folder, int32_t vocab) {
  const auto path = folder.path() / "x.tokens";
  TokenCacheWriter writer(path, vocab);
  uint32_t line = 0;
  for (const auto& example : examples(vocab)) {
    writer.add(example, line % 2, line);
    ++line;
  }
  writer.finish(header());
  return path;
}

std::vector<std::byte> bytes_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

TEST(TokenCache, GivesBackWhatWasWritten) {
  for (const int32_t vocab : {1000, 65536, 65537, 200000}) {
    const DataFolder folder;
    const auto path = write_cache(folder, vocab);
    const auto cache = TokenCache::open(path);
    EXPECT_EQ(cache->header().key, "key");
    EXPECT_EQ(cache->header().files, header().files);
    EXPECT_EQ(cache->header().broken, 2);
    EXPECT_EQ(cache->header().vocab_size, vocab);
    ASSERT_EQ(cache->num_documents(), 3);
    EXPECT_EQ(cache->num_tokens(), 9);
    const auto expected = examples(vocab);
    for (int64_t d = 0; d < 3; ++d) {
      const TokenDocument document = cache->document(d);
      const auto& example = expected[static_cast<size_t>(d)];
      std::vector<int32_t> ids(document.end - document.begin);
      cache->copy_tokens(document.begin, ids);
      EXPECT_EQ(ids, example.ids);
      EXPECT_EQ(std::vector<ScoredRun>(document.runs.begin(), document.runs.end()), example.runs);
      EXPECT_EQ(document.kind, example.kind);
      EXPECT_EQ(document.line, static_cast<uint32_t>(d));
    }
    const auto size = std::filesystem::file_size(path);
    EXPECT_EQ(size > 9 * 4 + 24 + 96 + 64 + 100, true);
  }
}

TEST(TokenCache, NothingAppearsBeforeFinish) {
  const DataFolder folder;
  const auto path = folder.path() / "x.tokens";
  {
    TokenCacheWriter writer(path, 100);
    writer.add({ExampleKind::kText, {1}, {}}, 0, 0);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

ErrorCode parse_code(std::span<const std::byte> bytes) {
  try {
    TokenCache::parse(bytes, "x");
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::kInternal;
}

TEST(TokenCache, EveryChangedByteAndEveryCutIsNoticed) {
  const DataFolder folder;
  std::vector<std::byte> bytes = bytes_of(write_cache(folder, 1000));
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{0x10};
    EXPECT_EQ(parse_code(bytes), ErrorCode::kBadFile) << i;
    bytes[i] ^= std::byte{0x10};
  }
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_EQ(parse_code(std::span(bytes).first(size)), ErrorCode::kBadFile) << size;
}

// Somebody who also mends the checksum gets no further than the checks behind it.
TEST(TokenCache, ForgedSizesAreRefused) {
  const DataFolder folder;
  const std::vector<std::byte> good = bytes_of(write_cache(folder, 1000));
  const auto forge = [&](size_t offset, uint64_t value, size_t width) {
    std::vector<std::byte> bytes = good;
    std::memcpy(bytes.data() + offset, &value, width);
    const uint64_t checksum = XXH3_64bits(bytes.data(), bytes.size() - 8);
    std::memcpy(bytes.data() + bytes.size() - 8, &checksum, 8);
    return parse_code(bytes);
  };
  const size_t trailer = good.size() - 64;
  for (const size_t field : {8u, 16u, 24u, 32u, 40u, 48u}) {
    for (const uint64_t value : {uint64_t{3}, uint64_t{1} << 20, uint64_t{1} << 62, ~uint64_t{0}}) {
      if (std::memcmp(&good[trailer + field], &value, 8) == 0) continue;
      EXPECT_EQ(forge(trailer + field, value, 8), ErrorCode::kBadFile) << field << " " << value;
    }
  }
  EXPECT_EQ(forge(0, 1000, 2), ErrorCode::kBadFile);      // an id outside the vocabulary
  const size_t runs = 24;                                 // 9 tokens of 2 bytes, rounded up
  EXPECT_EQ(forge(runs + 4, 4, 4), ErrorCode::kBadFile);  // past the document's end
  EXPECT_EQ(forge(runs + 8, 5, 4), ErrorCode::kBadFile);  // empty or turned round
  const size_t documents = runs + 3 * 8;
  EXPECT_EQ(forge(documents, 1, 8), ErrorCode::kBadFile);           // tokens in no document
  EXPECT_EQ(forge(documents + 32, 0, 8), ErrorCode::kBadFile);      // an empty document
  EXPECT_EQ(forge(documents + 32, ~0ULL, 8), ErrorCode::kBadFile);  // far outside
  EXPECT_EQ(forge(documents + 16, 2, 4), ErrorCode::kBadFile);      // a file that is not there
  EXPECT_EQ(forge(documents + 24, 3, 4), ErrorCode::kBadFile);      // an unknown kind
  EXPECT_EQ(forge(runs, 0, 4), ErrorCode::kInternal);               // unchanged: parses
}

}  // namespace
}  // namespace beacon::train
