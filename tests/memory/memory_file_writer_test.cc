// Memory files as they are written: what is refused, where blocks go, full disks, element types.
#include <beacon/error.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "memory/file_helpers.h"
#include "memory/memory_file_fixture.h"
#include "memory/memory_layout.h"

namespace beacon::testing {
namespace {

using ::testing::HasSubstr;

TEST(MemoryFile, KeysMayBeBlocksOfBytes) {
  TemporaryFolder folder;
  MemoryManifest manifest = small_manifest();
  manifest.head_dim = 64;
  manifest.dtype = DType::kQ8_0;
  std::vector<SmallBlock> blocks = small_blocks();
  for (SmallBlock& b : blocks) {
    if (b.name.rfind("layer.", 0) != 0) continue;
    b.shape.back() = 64;
    const bool before_rope = b.name.back() == 'e';
    b.dtype = before_rope ? DType::kF32 : DType::kQ8_0;
    b.bytes.assign(static_cast<size_t>(b.shape[0] * b.shape[1]) * (before_rope ? 256 : 68), std::byte{7});
  }
  writer_of(blocks).write_file(folder / "a.beacon", manifest);
  const auto file = MemoryFile::open(folder / "a.beacon");
  EXPECT_EQ(file->manifest(), manifest);
  EXPECT_EQ(file->block("layer.1.v").shape, (std::vector<int64_t>{2, 7, 64}));
  EXPECT_EQ(file->block("layer.1.v").bytes.size(), 2U * 7 * 68);
}

TEST(MemoryFile, BytesOfBlocksAndPlainNumbers) {
  EXPECT_EQ(dense_bytes(DType::kQ8_0, {2, 7, 64}), 2U * 7 * 68);
  EXPECT_EQ(dense_bytes(DType::kBF16, {2, 7, 3}), 84U);
  EXPECT_EQ(dense_bytes(DType::kU8, {}), 1U);
  EXPECT_EQ(dense_bytes(DType::kQ8_0, {2, 7, 48}), std::nullopt);
  EXPECT_EQ(dense_bytes(DType::kQ8_0, {}), std::nullopt);
  EXPECT_EQ(dense_bytes(DType::kF32, {-1, 4}), std::nullopt);
  EXPECT_EQ(dense_bytes(DType::kF32, {INT64_MAX, 4}), std::nullopt);
}

TEST(MemoryFileWriter, RefusesWhatCouldNotBeRead) {
  const auto with = [](auto change) {
    auto m = small_manifest();
    change(m);
    return outcome([&] { write_to_buffer(writer_of(small_blocks()), m); });
  };
  EXPECT_EQ(with([](auto&) {}), "accepted");
  EXPECT_THAT(with([](auto& m) { m.title = "\xff"; }),
              HasSubstr("invalid argument: this memory cannot be written"));
  EXPECT_THAT(with([](auto& m) { m.window_options = "[1]"; }), HasSubstr("invalid argument"));
  EXPECT_THAT(with([](auto& m) { m.window_options = "{"; }), HasSubstr("invalid argument"));
  EXPECT_THAT(with([](auto& m) { m.window_options = std::string(1000, '['); }), HasSubstr("nested deeper"));
  EXPECT_THAT(with([](auto& m) { m.description = std::string(65537, 'x'); }), HasSubstr("'description' has"));
  EXPECT_THAT(with([](auto& m) { m.tokens_read = 11; }), HasSubstr("inside the 11 tokens"));
  EXPECT_THAT(with([](auto& m) { m.layers = 3; }), HasSubstr("block 'layer.2.k' is missing"));
  EXPECT_THAT(with([](auto& m) { m.dtype = DType::kI64; }), HasSubstr("invalid argument"));
  MemoryFileWriter w;
  const Buffer five(5);
  EXPECT_THAT(outcome([&] { w.add_block("x", DType::kI16, {2}, five); }),
              HasSubstr("does not take the 5 bytes given"));
  EXPECT_THAT(outcome([&] { w.add_block("x", DType::kU8, {-5}, five); }), HasSubstr("invalid argument"));
  EXPECT_THAT(outcome([&] { w.add_block("x", DType::kQ8_0, {5}, five); }), HasSubstr("invalid argument"));
}

TEST(MemoryFileWriter, EveryManifestLengthLaysOut) {
  auto m = small_manifest();
  const auto blocks = small_blocks();
  const auto writer = writer_of(blocks);
  const auto check = [&] {
    const auto file = write_to_buffer(writer, m);
    ASSERT_EQ(MemoryFile::parse(file)->manifest(), m);
  };
  for (size_t n = 0; n < 64; ++n) {
    m.title.assign(n, 't');
    check();
  }
  // Manifests that end just before and just after the first block's offset gets a fifth digit.
  m.description.clear();
  const size_t without = get(write_to_buffer(writer, m), 32);
  for (size_t end = 9920; end < 10010; ++end) {
    m.description.assign(end - 64 - without, 'd');
    check();
  }
}

TEST(MemoryFileWriter, AFullDiskKeepsTheOldFile) {
  TemporaryFolder folder;
  const auto path = folder / "m.beacon";
  auto m = small_manifest();
  writer_of(small_blocks()).write_file(path, m);
  const Buffer before = read_all(path);

  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  m.title = "never seen";
  for (const rlim_t limit : {rlim_t{0}, rlim_t{100}, rlim_t{before.size() - 1}}) {
    rlimit small = old;
    small.rlim_cur = limit;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto text = outcome([&] { writer_of(small_blocks()).write_file(path, m); });
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
    EXPECT_THAT(text, HasSubstr("input/output error: cannot write"));
    EXPECT_EQ(folder.files(), 1U) << "a temporary file was left";
  }
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(read_all(path), before);
  EXPECT_EQ(MemoryFile::open(path)->manifest().title, "Emma");
}

TEST(MemoryFileWriter, ReplacingAFileLeavesOpenOnesAlone) {
  TemporaryFolder folder;
  const auto path = folder / "m.beacon";
  auto m = small_manifest();
  writer_of(small_blocks()).write_file(path, m);
  const auto old = MemoryFile::open(path);
  m.title = "Persuasion";
  writer_of(small_blocks()).write_file(path, m);
  EXPECT_EQ(MemoryFile::open(path)->manifest().title, "Persuasion");
  const auto bytes = old->block("layer.1.k").bytes;
  EXPECT_EQ(Buffer(bytes.begin(), bytes.end()), small_blocks()[8].bytes);
}

}  // namespace
}  // namespace beacon::testing
