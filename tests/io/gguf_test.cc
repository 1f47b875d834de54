#include "io/gguf.h"

#include <cmath>

#include "io_test.h"

namespace beacon {
namespace {

using testing::ElementsAre;
constexpr auto kBad = ErrorCode::kBadFile;

std::string array(uint32_t element, uint64_t count, std::string_view bytes) {
  return raw(element) + raw(count) + std::string(bytes);
}

GgufFile parse(const std::string& bytes) { return GgufFile::parse(as_span(bytes), "the file"); }

TEST(Gguf, ReadsEveryKindOfValue) {
  GgufBuilder b;
  b.value("u8", 0, raw<uint8_t>(200)).value("i8", 1, raw<int8_t>(-5)).value("u16", 2, raw<uint16_t>(60000));
  b.value("i16", 3, raw<int16_t>(-300)).u32("u32", 4'000'000'000u).value("i32", 5, raw<int32_t>(-7));
  b.f32("f32", 0.5f).value("bool", 7, raw<uint8_t>(1)).text("string", "hi");
  b.value("u64", 10, raw<uint64_t>(1ull << 40))
      .value("i64", 11, raw<int64_t>(-1))
      .value("f64", 12, raw(2.25));
  b.value("strings", 9, array(8, 2, gguf_string("a") + gguf_string("")));
  b.value("ints", 9, array(5, 2, raw<int32_t>(-1) + raw<int32_t>(2)));
  b.value("floats", 9, array(6, 1, raw(1.5f)));
  const std::string bytes = b.bytes();
  const GgufFile file = parse(bytes);
  EXPECT_EQ(file.get_int("u8"), 200);
  EXPECT_EQ(file.get_int("i8"), -5);
  EXPECT_EQ(file.get_int("u16"), 60000);
  EXPECT_EQ(file.get_int("i16"), -300);
  EXPECT_EQ(file.get_int("u32"), 4'000'000'000);
  EXPECT_EQ(file.get_int("i32"), -7);
  EXPECT_EQ(file.get_int("u64"), int64_t{1} << 40);
  EXPECT_EQ(file.get_int("i64"), -1);
  EXPECT_EQ(file.get_float("f32"), 0.5);
  EXPECT_EQ(file.get_float("f64"), 2.25);
  EXPECT_EQ(file.get_float("u8"), 200.0);
  EXPECT_EQ(file.get_bool("bool"), true);
  EXPECT_EQ(file.get_string("string"), "hi");
  EXPECT_THAT(*file.get_strings("strings"), ElementsAre("a", ""));
  EXPECT_THAT(*file.get_ints("ints"), ElementsAre(-1, 2));
  EXPECT_THAT(*file.get_floats("floats"), ElementsAre(1.5f));
  EXPECT_FALSE(file.get_int("absent").has_value());
  EXPECT_EQ(file.keys().size(), 15u);
}

TEST(Gguf, ConfusedKindsAreRefusedByKey) {
  GgufBuilder b;
  b.u32("int", 1).text("string", "hi").value("big", 10, raw<uint64_t>(UINT64_MAX)).f32("nan", std::nanf(""));
  b.value("ints", 9, array(4, 2, raw<uint32_t>(1) + raw<uint32_t>(2)));
  b.value("strings", 9, array(8, 1, gguf_string("x")));
  const std::string bytes = b.bytes();
  const GgufFile file = parse(bytes);
  expect_error(kBad, {"\"string\" should be an integer", "found string"}, [&] { file.get_int("string"); });
  expect_error(kBad, {"\"ints\" should be an integer", "found array of 2 u32"},
               [&] { file.get_int("ints"); });
  expect_error(kBad, {"\"big\"", "below 2^63"}, [&] { file.get_int("big"); });
  expect_error(kBad, {"\"nan\"", "finite"}, [&] { file.get_float("nan"); });
  expect_error(kBad, {"\"int\" should be a string", "found u32"}, [&] { file.get_string("int"); });
  expect_error(kBad, {"\"int\" should be a bool"}, [&] { file.get_bool("int"); });
  expect_error(kBad, {"\"ints\" should be an array of strings"}, [&] { file.get_strings("ints"); });
  expect_error(kBad, {"\"strings\" should be an array of integers"}, [&] { file.get_ints("strings"); });
  expect_error(kBad, {"\"ints\" should be an array of f32"}, [&] { file.get_floats("ints"); });
  expect_error(kBad, {"\"int\" should be an array"}, [&] { file.get_strings("int"); });
}

TEST(Gguf, ReadsTensorsOutermostFirst) {
  for (const uint32_t version : {2u, 3u}) {
    GgufBuilder b;
    b.version = version;
    b.tensor("q", {32, 2}, 8, 0).tensor("f", {3}, 0, 96);
    b.data = std::string(68, 'q') + std::string(28, '\0') + raw(1.0f) + raw(2.0f) + raw(3.0f);
    const std::string bytes = b.bytes();
    const GgufFile file = parse(bytes);
    EXPECT_EQ(file.version(), version);
    EXPECT_EQ(file.find("q")->shape, (std::vector<int64_t>{2, 32}));
    EXPECT_EQ(file.find("q")->dtype, DType::kQ8_0);
    EXPECT_EQ(file.find("q")->bytes.size(), 68u);
    float third;
    std::memcpy(&third, file.find("f")->bytes.data() + 8, 4);
    EXPECT_EQ(third, 3.0f);
    EXPECT_EQ(file.find("absent"), nullptr);
  }
}

TEST(Gguf, KindsWeDoNotReadAreNamedWhenAskedFor) {
  GgufBuilder b;
  b.tensor("ok", {4}, 0, 0).tensor("odd", {256}, 23, 32).tensor("future", {256}, 77, 64);
  b.data = std::string(400, '\0');
  const std::string bytes = b.bytes();
  const GgufFile file = parse(bytes);
  EXPECT_NE(file.find("ok"), nullptr);
  expect_error(ErrorCode::kUnsupported, {"odd", "IQ4_XS", "Q4_K"}, [&] { file.find("odd"); });
  expect_error(ErrorCode::kUnsupported, {"future", "77"}, [&] { file.find("future"); });
}

struct BadGguf {
  const char* name;
  std::function<void(GgufBuilder&)> break_it;
  ErrorCode code;
  std::string says;
};

class GgufBad : public testing::TestWithParam<BadGguf> {};

TEST_P(GgufBad, IsRefused) {
  GgufBuilder b;
  GetParam().break_it(b);
  const std::string bytes = b.bytes();
  expect_error(GetParam().code, {"the file", GetParam().says}, [&] { parse(bytes); });
}

constexpr uint64_t kHuge = uint64_t{1} << 62;

INSTANTIATE_TEST_SUITE_P(
    Table, GgufBad,
    testing::Values(
        BadGguf{"version_1", [](auto& b) { b.version = 1; }, ErrorCode::kUnsupported, "version 1"},
        BadGguf{"version_4", [](auto& b) { b.version = 4; }, ErrorCode::kUnsupported, "version 4"},
        BadGguf{"big_endian", [](auto& b) { b.version = 0x03000000; }, ErrorCode::kUnsupported, "big-endian"},
        BadGguf{"tensor_count", [](auto& b) { b.tensor_count = kHuge; }, kBad, "tensor table claims"},
        BadGguf{"value_count", [](auto& b) { b.value_count = UINT64_MAX; }, kBad, "metadata claims"},
        BadGguf{"count_too_high", [](auto& b) { b.u32("a", 1).value_count = 2; }, kBad, "the file"},
        BadGguf{"key_length",
                [](auto& b) { b.metadata = raw(kHuge) + std::string(64, 'x'), b.value_count = 1; }, kBad,
                "key 0 claims"},
        BadGguf{"empty_key", [](auto& b) { b.u32("", 1); }, kBad, "is empty"},
        BadGguf{"key_twice", [](auto& b) { b.u32("a", 1).u32("a", 1); }, kBad, "\"a\" comes twice"},
        BadGguf{"unknown_kind", [](auto& b) { b.value("a", 13, raw(kHuge)); }, kBad, "value kind 13"},
        BadGguf{"string_length", [](auto& b) { b.value("a", 8, raw(kHuge)); }, kBad, "at most"},
        BadGguf{"bool_two", [](auto& b) { b.value("a", 7, raw<uint8_t>(2)); }, kBad, "should be a bool"},
        BadGguf{"bool_array",
                [](auto& b) { b.value("a", 9, array(7, 2, raw<uint8_t>(1) + raw<uint8_t>(9))); }, kBad,
                "should be a bool"},
        BadGguf{"array_count", [](auto& b) { b.value("a", 9, array(4, kHuge, "xxxx")); }, kBad, "a claims"},
        BadGguf{"array_of_strings_count", [](auto& b) { b.value("a", 9, array(8, kHuge, "xxxx")); }, kBad,
                "claims"},
        BadGguf{"nested_array", [](auto& b) { b.value("a", 9, array(9, 1, array(4, 1, raw<uint32_t>(1)))); },
                kBad, "array of arrays"},
        BadGguf{"array_of_unknown", [](auto& b) { b.value("a", 9, array(99, 1, "x")); }, kBad,
                "value kind 99"},
        BadGguf{"alignment_zero", [](auto& b) { b.u32("general.alignment", 0); }, kBad, "power of two"},
        BadGguf{"alignment_48", [](auto& b) { b.u32("general.alignment", 48); }, kBad, "found 48"},
        BadGguf{"alignment_huge", [](auto& b) { b.u32("general.alignment", 1u << 31); }, kBad,
                "power of two"},
        BadGguf{"alignment_kind", [](auto& b) { b.text("general.alignment", "32"); }, kBad, "should be u32"},
        BadGguf{"empty_name", [](auto& b) { b.tensor("", {4}, 0, 0).data = std::string(16, 'x'); }, kBad,
                "empty name"},
        BadGguf{"no_dims", [](auto& b) { b.tensor("t", {}, 0, 0).data = std::string(32, 'x'); }, kBad,
                "0 dimensions"},
        BadGguf{"five_dims",
                [](auto& b) {
                  b.tensor("t", {1, 1, 1, 1, 1}, 0, 0).data = "xxxx";
                },
                kBad, "5 dimensions"},
        BadGguf{"dim_zero",
                [](auto& b) {
                  b.tensor("t", {4, 0}, 0, 0).data = "xxxx";
                },
                kBad, "dimension 1"},
        BadGguf{"dims_overflow",
                [](auto& b) {
                  b.tensor("t", {kHuge, 4}, 0, 0).data = "xxxx";
                },
                kBad, "absurd"},
        BadGguf{"size_overflows",
                [](auto& b) {
                  b.tensor("t", {kHuge, 1}, 0, 0).data = "xxxx";
                },
                kBad, "does not fit"},
        BadGguf{"half_block", [](auto& b) { b.tensor("t", {33}, 8, 0).data = std::string(80, 'x'); }, kBad,
                "multiple of 32"},
        BadGguf{"half_k_block",
                [](auto& b) {
                  b.tensor("t", {32, 8}, 12, 0).data = std::string(144, 'x');
                },
                kBad, "multiple of 256"},
        BadGguf{"misaligned", [](auto& b) { b.tensor("t", {4}, 0, 8).data = std::string(64, 'x'); }, kBad,
                "not a multiple of the alignment"},
        BadGguf{"truncated_data", [](auto& b) { b.tensor("t", {4}, 0, 0).data = std::string(15, 'x'); }, kBad,
                "truncated"},
        BadGguf{"offset_huge", [](auto& b) { b.tensor("t", {4}, 0, kHuge).data = std::string(64, 'x'); },
                kBad, "does not fit"},
        BadGguf{
            "overlap",
            [](auto& b) { b.tensor("t", {16}, 0, 0).tensor("u", {16}, 0, 32).data = std::string(96, 'x'); },
            kBad, "t and u overlap"},
        BadGguf{"same_place",
                [](auto& b) { b.tensor("t", {8}, 0, 0).tensor("u", {8}, 0, 0).data = std::string(96, 'x'); },
                kBad, "overlap"},
        BadGguf{"name_twice",
                [](auto& b) { b.tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).data = std::string(96, 'x'); },
                kBad, "\"t\" comes twice"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Gguf, OtherFilesAndTruncationsAreRefused) {
  expect_error(kBad, {"expected a GGUF file"}, [] { parse(std::string(64, 'x')); });
  expect_error(kBad, {"truncated"}, [] { parse("GG"); });
  GgufBuilder b;
  b.u32("a", 1).text("b", "text").value("c", 9, array(8, 1, gguf_string("s"))).tensor("t", {8}, 0, 0);
  b.data = std::string(32, 'x');
  const std::string whole = b.bytes();
  ASSERT_EQ(parse(whole).tensors().size(), 1u);
  for (size_t n = 0; n < whole.size(); ++n) EXPECT_THROW(parse(whole.substr(0, n)), Error) << n << " bytes";
}

TEST(Gguf, AlignmentOfTheFileIsUsed) {
  GgufBuilder b;
  b.alignment = 64;
  b.u32("general.alignment", 64).tensor("t", {1}, 0, 64).data = std::string(64, 'x') + raw(7.0f);
  const std::string bytes = b.bytes();
  float value;
  std::memcpy(&value, parse(bytes).find("t")->bytes.data(), 4);
  EXPECT_EQ(value, 7.0f);
}

}  // namespace
}  // namespace beacon
