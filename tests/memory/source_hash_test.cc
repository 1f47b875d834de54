#include "memory/source_hash.h"

#include <beacon/error.h>
#include <gtest/gtest.h>

#include <vector>

namespace beacon {
namespace {

// Computed with Python's xxhash module: h = xxh3_128_digest(h + struct.pack("<i", token)), from 16 zero
// bytes.
TEST(SourceHash, MatchesThePythonChain) {
  SourceHash hash;
  EXPECT_EQ(hash.hex(), "00000000000000000000000000000000");
  hash.update(std::vector<int32_t>{1});
  EXPECT_EQ(hash.hex(), "d5f086458a88232b36017c579558fe93");
  hash.update(std::vector<int32_t>{2, 49151});
  EXPECT_EQ(hash.hex(), "b4e097986803efa98512a9945a790ab0");
}

TEST(SourceHash, GoesOnFromItsText) {
  SourceHash hash("d5f086458a88232b36017c579558fe93");
  hash.update(std::vector<int32_t>{2});
  EXPECT_EQ(hash.hex(), "3027238f170e885ac8edbe42cd94cc75");
}

TEST(SourceHash, RefusesOtherText) {
  for (const char* text : {"", "00", "d5f086458a88232b36017c579558fe9", "D5F086458A88232B36017C579558FE93",
                           "d5f086458a88232b36017c579558fe930", "g5f086458a88232b36017c579558fe93"})
    EXPECT_THROW(SourceHash{text}, Error) << text;
}

}  // namespace
}  // namespace beacon
