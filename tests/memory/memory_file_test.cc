#include "memory/memory_file.h"

#include <beacon/error.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "memory/file_helpers.h"
#include "memory/memory_file_fixture.h"
#include "memory/memory_layout.h"

namespace beacon::testing {
namespace {

using ::testing::HasSubstr;

std::string parse_outcome(const Buffer& file, MemoryVerify verify = MemoryVerify::kChecksums) {
  return outcome([&] { MemoryFile::parse(file, verify); });
}

std::string forged(const std::function<void(Forge&)>& change) {
  Forge forge = Forge::small();
  change(forge);
  return parse_outcome(forge.build());
}

TEST(MemoryFile, GivesBackWhatWasWritten) {
  TemporaryFolder folder;
  const auto blocks = small_blocks();
  writer_of(blocks).write_file(folder / "a.beacon", small_manifest());
  const auto file = MemoryFile::open(folder / "a.beacon");
  EXPECT_EQ(file->manifest(), small_manifest());
  EXPECT_EQ(file->file_bytes(), std::filesystem::file_size(folder / "a.beacon"));
  ASSERT_EQ(file->blocks().size(), blocks.size());
  for (const auto& b : blocks) {
    const TensorView& view = file->block(b.name);
    EXPECT_EQ(view.dtype, b.dtype);
    EXPECT_EQ(view.shape, b.shape);
    EXPECT_EQ(Buffer(view.bytes.begin(), view.bytes.end()), b.bytes) << b.name;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view.bytes.data()) % 64, 0U) << b.name;
  }
  EXPECT_EQ(file->source_spans(), (std::vector<int64_t>{0, 4, 4, 8, 8, 12}));
  EXPECT_EQ(file->window_tokens(), (std::vector<int32_t>{100, 101}));
  EXPECT_EQ(file->window_ratios(), (std::vector<int32_t>{4, 4, 4, 4}));
  EXPECT_EQ(file->find_block("no"), nullptr);
  EXPECT_EQ(outcome([&] { file->block("no"); }), "not found: the memory file has no block 'no'");
}

TEST(MemoryFile, PiecesOfABlockAreJoined) {
  const auto blocks = small_blocks();
  MemoryFileWriter writer;
  for (const auto& b : blocks) {
    const std::span<const std::byte> all(b.bytes);
    writer.add_block(b.name, b.dtype, b.shape, {all.first(1), all.subspan(1, 0), all.subspan(1)});
  }
  EXPECT_EQ(write_to_buffer(writer, small_manifest()), small_file());
}

TEST(MemoryFile, EmptyMemoryIsAFile) {
  auto m = small_manifest();
  m.sink_rows = m.beacon_rows = m.raw_rows = m.tokens_read = 0;
  m.pending_token.reset();
  m.adapter = m.title = m.description = "";
  m.window_options = "{}";
  m.rope.clear();
  auto blocks = small_blocks();
  blocks.erase(blocks.begin() + 4);  // the sampler
  for (auto& b : blocks) {
    if (b.name != "planner") b.bytes.clear();
    if (b.shape.size() == 3) b.shape[1] = 0;
    if (b.shape.size() < 3 && b.name != "planner") b.shape[0] = 0;
  }
  const auto file = write_to_buffer(writer_of(blocks), m);
  const auto parsed = MemoryFile::parse(file);
  EXPECT_EQ(parsed->manifest(), m);
  EXPECT_TRUE(parsed->source_spans().empty());
}

TEST(MemoryFile, KeysBeforeRopeMayBeWiderAndAreAbsentWhenUnrotated) {
  auto m = small_manifest();
  m.dtype = DType::kBF16;
  auto blocks = small_blocks();
  for (auto& b : blocks)
    if (b.name.ends_with(".k") || b.name.ends_with(".v")) {
      b.dtype = DType::kBF16;
      b.bytes.resize(b.bytes.size() / 2);
    }
  EXPECT_EQ(MemoryFile::parse(write_to_buffer(writer_of(blocks), m))->manifest(), m);
  m.keys = MemoryKeys::kUnrotated;
  EXPECT_THAT(outcome([&] { write_to_buffer(writer_of(blocks), m); }),
              HasSubstr("only expected when keys are rotated again"));
  std::erase_if(blocks, [](const auto& b) { return b.name.ends_with("k_pre"); });
  EXPECT_EQ(MemoryFile::parse(write_to_buffer(writer_of(blocks), m))->manifest(), m);
}

// Computed with Python's struct and xxhash modules from the table of docs/memory_format.md: version 1, a file
// of 1000 bytes, a manifest of 300 bytes with checksum 0x1122334455667788.
TEST(MemoryFile, HeaderBytesAreThoseOfTheDocument) {
  const auto header = encode_memory_header({1000, 300, 0x1122334455667788U});
  std::string hex;
  for (const std::byte b : header) hex += hex16(std::to_integer<uint64_t>(b)).substr(14);
  EXPECT_EQ(hex,
            "424541434f4e4d4d"
            "01000000"
            "00000000"
            "e803000000000000"
            "4000000000000000"
            "2c01000000000000"
            "8877665544332211"
            "0000000000000000"
            "da9c022affb1991a");
}

// The writer of the fixture follows the document and knows nothing of ours.
TEST(MemoryFile, ReadsWhatTheTwinOfTheDocumentWrites) {
  const auto file = Forge::small().build();
  const auto parsed = MemoryFile::parse(file);
  EXPECT_EQ(parsed->manifest(), small_manifest());
  EXPECT_EQ(parsed->window_tokens(), (std::vector<int32_t>{100, 101}));
}

TEST(MemoryFile, EveryFlippedByteIsRefused) {
  Buffer file = small_file();
  const auto flip = [&](size_t at, std::byte mask) {
    file[at] ^= mask;
    ASSERT_NE(parse_outcome(file), "accepted") << "byte " << at << " mask " << std::to_integer<int>(mask);
    file[at] ^= mask;
  };
  for (size_t at = 0; at < 64; ++at)
    for (int bit = 0; bit < 8; ++bit) flip(at, std::byte{1} << bit);
  for (size_t at = 64; at < file.size(); ++at) flip(at, std::byte{1} << (at * 5 % 8));
  EXPECT_EQ(parse_outcome(file), "accepted");
}

TEST(MemoryFile, EveryTruncationAndExtensionIsRefused) {
  Buffer file = small_file();
  for (size_t n = 0; n < file.size(); ++n) {
    const Buffer head(file.begin(),
                      file.begin() + static_cast<ptrdiff_t>(n));  // its own allocation, for ASan
    ASSERT_THAT(parse_outcome(head), HasSubstr(n < 8 ? "not a memory file" : "truncated")) << n;
  }
  file.push_back(std::byte{0});
  EXPECT_EQ(parse_outcome(file), "bad file: 1 bytes follow the end of the memory");
}

TEST(MemoryFile, CorruptionNamesTheBlock) {
  Buffer file = small_file();
  const auto parsed = MemoryFile::parse(file);
  const auto at = parsed->block("layer.1.v").bytes.data() - file.data();
  file[static_cast<size_t>(at) + 5] ^= std::byte{1};
  EXPECT_EQ(parse_outcome(file),
            "bad file: the checksum of block 'layer.1.v' does not match: the file is corrupted");
  EXPECT_EQ(parse_outcome(file, MemoryVerify::kStructure), "accepted");
}

TEST(MemoryFile, NewerVersionsAndUnknownFlagsAreUnsupported) {
  Buffer file = small_file();
  put(file, 8, 2, 4);
  EXPECT_EQ(parse_outcome(file), "unsupported: written by a newer version 2, this program reads up to 1");
  seal_header(file);
  EXPECT_EQ(parse_outcome(file), "unsupported: written by a newer version 2, this program reads up to 1");
  put(file, 8, 0, 4);
  seal_header(file);
  EXPECT_EQ(parse_outcome(file), "bad file: format version 0 does not exist");
  file = small_file();
  put(file, 12, 4, 4);
  seal_header(file);
  EXPECT_EQ(parse_outcome(file), "unsupported: flags 0x4 are unknown to this program");
  file = small_file();
  put(file, 48, 1);
  seal_header(file);
  EXPECT_EQ(parse_outcome(file), "unsupported: a reserved header field is not zero");
}

TEST(MemoryFile, AbsurdHeaderNumbersAreRefused) {
  for (const size_t at : {16U, 24U, 32U, 40U})
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{63}, uint64_t{1} << 32, UINT64_MAX}) {
      Buffer file = small_file();
      put(file, at, value);
      seal_header(file);
      EXPECT_THAT(parse_outcome(file), HasSubstr("bad file")) << at << " " << value;
    }
}

TEST(MemoryFile, BlocksOutOfPlaceAreRefused) {
  const auto offset = [](const char* name, const std::function<int64_t(int64_t)>& change) {
    return forged([&](Forge& f) {
      const size_t i = f.index(name);
      f.last = [=](Json& m) { m["blocks"][i]["offset"] = change(m["blocks"][i]["offset"].get<int64_t>()); };
    });
  };
  EXPECT_THAT(offset("layer.0.v", [](int64_t o) { return o - 64; }),
              HasSubstr("block 'layer.0.v' begins at byte"));
  EXPECT_THAT(offset("layer.0.v", [](int64_t o) { return o + 64; }),
              HasSubstr("block 'layer.0.v' begins at byte"));
  EXPECT_THAT(offset("layer.0.v", [](int64_t) { return 0; }), HasSubstr("block 'layer.0.v' begins at byte"));
  EXPECT_THAT(offset("planner", [](int64_t) { return INT64_MAX; }),
              HasSubstr("block 'planner' begins at byte"));
  EXPECT_THAT(offset("planner", [](int64_t) { return -64; }), HasSubstr("'offset' is -64"));
  // A last block that claims more than the file has, and one that claims less.
  for (const int64_t rows : {4, 2}) {
    const auto text = forged([&](Forge& f) {
      f.add("notes", "U8", {3}, Buffer(3));
      f.last = [&](Json& m) {
        m["blocks"].back()["shape"] = {rows};
        m["blocks"].back()["bytes"] = rows;
      };
    });
    EXPECT_THAT(text,
                HasSubstr(rows == 4 ? "block 'notes' ends after the file's" : "the blocks end at byte"));
  }
}

TEST(MemoryFile, PaddingMustBeZero) {
  Buffer file = small_file();
  const auto parsed = MemoryFile::parse(file);
  const auto at = static_cast<size_t>(parsed->block("planner").bytes.data() - file.data()) + 5;
  file[at] = std::byte{1};
  EXPECT_EQ(parse_outcome(file),
            "bad file: the padding before block 'sampler' is not zero: the file is corrupted");
}

TEST(MemoryFile, ShapesMustMatchTheManifest) {
  const auto number = [](const char* key, int64_t value) {
    return forged([=](Forge& f) { f.manifest[key] = value; });
  };
  EXPECT_THAT(number("layers", 3), HasSubstr("block 'layer.2.k' is missing"));
  EXPECT_THAT(number("layers", 1), HasSubstr("block 'layer.1.k' is one layer more"));
  EXPECT_THAT(number("kv_heads", 3),
              HasSubstr("block 'layer.0.k' is F32 [2, 7, 3], the manifest asks for F32 [3, 7, 3]"));
  EXPECT_THAT(number("head_dim", 6), HasSubstr("asks for F32 [2, 7, 6]"));
  const auto rows = [](const char* key, int64_t value) {
    return forged([=](Forge& f) { f.manifest["rows"][key] = value; });
  };
  EXPECT_THAT(rows("sink", 2), HasSubstr("asks for F32 [2, 8, 3]"));
  EXPECT_THAT(rows("beacon", 2), HasSubstr("block 'beacon.spans'"));
  EXPECT_THAT(rows("raw", 4), HasSubstr("asks for F32 [2, 8, 3]"));
  EXPECT_THAT(rows("raw", 1), HasSubstr("1 raw rows do not fit 2 tokens"));
  EXPECT_THAT(rows("raw", 5), HasSubstr("5 raw rows do not fit 2 tokens"));
  EXPECT_THAT(rows("sink", 15), HasSubstr("cannot come from 14 tokens"));
  EXPECT_THAT(forged([](Forge& f) { f.manifest["dtype"] = "BF16"; }), HasSubstr("asks for BF16"));
  EXPECT_THAT(forged([](Forge& f) { f.manifest["keys"] = "unrotated"; }),
              HasSubstr("'layer.0.k_pre' is only expected"));
  for (const char* name : {"planner", "beacon.spans", "window.tokens", "window.ratios", "layer.0.k",
                           "layer.1.v", "layer.1.k_pre"})
    EXPECT_EQ(forged([&](Forge& f) { f.erase(name); }),
              std::string("bad file: block '") + name + "' is missing");
  EXPECT_EQ(forged([](Forge& f) { f.erase("sampler"); }), "accepted");
  EXPECT_EQ(forged([](Forge& f) { f.add("notes", "F16", {1, 2}, Buffer(4)); }), "accepted");
  EXPECT_EQ(forged([](Forge& f) { f.add("planner", "U8", {1}, Buffer(1)); }),
            "bad file: block 'planner' appears twice");
  EXPECT_THAT(forged([](Forge& f) { f.entry("planner")["dtype"] = "I8"; }),
              HasSubstr("a list of U8 was expected"));
}

TEST(MemoryFile, BlockSizesAreCheckedWithoutOverflow) {
  const auto shape = [](const Json& shape) {
    return forged([&](Forge& f) { f.entry("planner")["shape"] = shape; });
  };
  EXPECT_THAT(shape({6}), HasSubstr("does not take the 5 bytes"));
  EXPECT_THAT(shape({int64_t{1} << 62, 4}), HasSubstr("does not take the 5 bytes"));
  EXPECT_THAT(shape({int64_t{1} << 62, 4, 0}), HasSubstr("does not take the 5 bytes"));
  EXPECT_THAT(shape({INT64_MAX, INT64_MAX, 5}), HasSubstr("does not take the 5 bytes"));
  EXPECT_THAT(shape({-5, -1}), HasSubstr("'shape' is -5"));
  EXPECT_THAT(shape({5.0}), HasSubstr("must be an integer"));
  EXPECT_THAT(shape({UINT64_MAX}), HasSubstr("'shape' is 18446744073709551615"));
  EXPECT_THAT(shape({1, 1, 1, 1, 1, 1, 1, 1, 5}), HasSubstr("up to 8 integers"));
  EXPECT_THAT(shape("5"), HasSubstr("must be a list"));
}

TEST(MemoryFile, IndexBlocksAreChecked) {
  const auto spans = [](const std::vector<int64_t>& s) {
    return forged([&](Forge& f) { f.bytes("beacon.spans") = to_bytes(s); });
  };
  EXPECT_EQ(spans({0, 4, 0, 8, 2, 14}), "accepted");
  EXPECT_THAT(spans({0, 4, 4, 8, 8, 15}), HasSubstr("beacon 2 claims tokens 8 to 15"));
  EXPECT_THAT(spans({0, 4, 4, 4, 8, 12}), HasSubstr("beacon 1 claims tokens 4 to 4"));
  EXPECT_EQ(spans({4, 8, 0, 12, 12, 13}),
            "accepted");  // a joined window: a beacon behind the raw rows it condenses
  EXPECT_THAT(spans({0, 8, 1, 7, 8, 12}), HasSubstr("beacon 1 claims"));
  EXPECT_THAT(spans({-1, 4, 4, 8, 8, 12}), HasSubstr("beacon 0 claims tokens -1 to 4"));
  EXPECT_THAT(forged([](Forge& f) {
                f.bytes("window.tokens") = to_bytes<int32_t>({5, -1});
              }),
              HasSubstr("block 'window.tokens': entry 1 is -1"));
  EXPECT_THAT(forged([](Forge& f) {
                f.bytes("window.ratios") = to_bytes<int32_t>({4, -8, 4, 4});
              }),
              HasSubstr("block 'window.ratios': entry 1 is -8"));
}

TEST(MemoryFile, ManifestFieldsAreChecked) {
  const auto field = [](const char* key, const Json& value) {
    return forged([&](Forge& f) { f.manifest[key] = value; });
  };
  for (const char* key : {"layers", "kv_heads", "head_dim"})
    for (const Json& bad :
         {Json(0), Json(-1), Json(4097), Json(UINT64_MAX), Json("2"), Json(2.0), Json(nullptr)})
      EXPECT_THAT(field(key, bad), HasSubstr(std::string("bad file: manifest: '") + key + "'")) << bad;
  EXPECT_THAT(field("tokens_read", -1), HasSubstr("'tokens_read' is -1"));
  EXPECT_THAT(field("tokens_read", int64_t{1} << 41), HasSubstr("'tokens_read'"));
  EXPECT_THAT(field("batch", 2), HasSubstr("unsupported: manifest: a batch of 2 rows"));
  EXPECT_THAT(field("dtype", "Q4_0"), HasSubstr("unsupported"));
  EXPECT_THAT(field("dtype", "Q8_0"), HasSubstr("heads of 3 numbers are not whole blocks of Q8_0"));
  EXPECT_THAT(field("dtype", "I32"), HasSubstr("unsupported: manifest: keys and values are I32"));
  EXPECT_THAT(field("dtype", "\x1b[2J\n"), HasSubstr("dtype '?[2J?'"));
  EXPECT_THAT(field("keys", "sideways"), HasSubstr("unsupported"));
  EXPECT_THAT(field("base", ""), HasSubstr("'base' has 0 bytes"));
  EXPECT_THAT(field("writer", std::string(129, 'x')), HasSubstr("'writer' has 129 bytes"));
  EXPECT_THAT(field("title", std::string(1025, 'x')), HasSubstr("'title' has 1025 bytes"));
  EXPECT_THAT(field("source_hash", "12"), HasSubstr("'source_hash'"));
  EXPECT_THAT(field("source_hash", std::string(32, 'G')),
              HasSubstr("'source_hash' must be 32 lower-case hex"));
  EXPECT_THAT(field("pending_token", -1), HasSubstr("'pending_token' is -1"));
  EXPECT_THAT(field("pending_token", int64_t{1} << 31), HasSubstr("'pending_token'"));
  EXPECT_EQ(field("pending_token", nullptr), "accepted");
  EXPECT_THAT(field("rope", Json::array()), HasSubstr("manifest: rope: an object"));
  EXPECT_THAT(field("rope", {{"theta", 1}}), HasSubstr("'theta' must be text"));
  EXPECT_THAT(field("window_options", 3), HasSubstr("'window_options' must be an object"));
  EXPECT_THAT(forged([](Forge& f) { f.last = [](Json& m) { m["blocks"] = 3; }; }),
              HasSubstr("'blocks' must be a list"));
  EXPECT_EQ(field("invented_later", {1, 2}), "accepted");
  for (const char* key :
       {"writer", "base", "adapter", "tokenizer", "rope", "window_options", "layers", "batch", "dtype",
        "keys", "rows", "tokens_read", "source_hash", "title", "description"})
    EXPECT_EQ(forged([&](Forge& f) { f.manifest.erase(key); }),
              std::string("bad file: manifest: no field '") + key + "'");
  EXPECT_THAT(forged([](Forge& f) { f.entry("sampler")["name"] = "a/b"; }),
              HasSubstr("a block name may hold only"));
  EXPECT_THAT(
      forged([](Forge& f) { f.last = [](Json& m) { m["blocks"][0]["xxh3"] = std::string(16, 'Z'); }; }),
      HasSubstr("block 'beacon.spans': 'xxh3' must be 16"));
}

TEST(MemoryFile, ManifestsThatAreNotJsonAreRefused) {
  const auto text = [](const std::string& manifest) {
    return parse_outcome(Forge::with_manifest({}, manifest, 0));
  };
  EXPECT_EQ(text(""), "bad file: manifest: not valid JSON");
  EXPECT_EQ(text("{"), "bad file: manifest: not valid JSON");
  EXPECT_EQ(text("{\"a\":\"\xff\"}"), "bad file: manifest: not valid JSON");
  EXPECT_EQ(text("[]"), "bad file: manifest: an object was expected");
  EXPECT_EQ(text("{}"), "bad file: manifest: no field 'writer'");
  EXPECT_EQ(text(std::string(100000, '[')), "bad file: manifest: nested deeper than 16 levels");
  EXPECT_EQ(text("{\"a\":\"" + std::string(100, '[') + "\\\"[\"}"), "bad file: manifest: no field 'writer'");
  EXPECT_THAT(text(std::string((4U << 20) + 1, ' ')),
              HasSubstr("a manifest of 4194305 bytes, at most 4194304"));
}

// The manifest's length depends on the offsets in it: every length of the title near a change of digits must
// do.
TEST(MemoryFile, OpenNamesThePath) {
  TemporaryFolder folder;
  EXPECT_THAT(outcome([&] { MemoryFile::open(folder / "none"); }), HasSubstr("not found: cannot open"));
  std::ofstream(folder / "text") << "hello, this is no memory file";
  EXPECT_THAT(outcome([&] { MemoryFile::open(folder / "text"); }), HasSubstr("text: not a memory file"));
  std::ofstream(folder / "empty");
  EXPECT_THAT(outcome([&] { MemoryFile::open(folder / "empty"); }), HasSubstr("bad file"));
  EXPECT_THAT(outcome([&] { writer_of(small_blocks()).write_file(folder / "no/such", small_manifest()); }),
              HasSubstr("input/output error: cannot write"));
}

}  // namespace
}  // namespace beacon::testing
