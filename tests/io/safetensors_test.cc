#include "io/safetensors.h"

#include "io_test.h"

namespace beacon {
namespace {

constexpr const char* kTwo =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
    R"("a":{"dtype":"I8","shape":[3],"data_offsets":[8,11]}})";
const std::string kElevenBytes("\x00\x00\x80\x3f\x00\x00\x00\x40\x01\x02\x03", 11);

TEST(Safetensors, ReadsTensorsAndMetadata) {
  const std::string bytes = safetensors_bytes(kTwo, kElevenBytes);
  const auto file = SafetensorsFile::parse(as_span(bytes));
  ASSERT_EQ(file.tensors().size(), 2u);
  const TensorView* b = file.find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, DType::kF32);
  EXPECT_EQ(b->shape, (std::vector<int64_t>{2, 1}));
  float values[2];
  std::memcpy(values, b->bytes.data(), sizeof(values));
  EXPECT_EQ(values[0], 1.0f);
  EXPECT_EQ(values[1], 2.0f);
  EXPECT_EQ(std::to_integer<int>(file.find("a")->bytes[2]), 3);
  EXPECT_EQ(file.find("c"), nullptr);
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(Safetensors, ReadsScalarsAndEmptyTensors) {
  const std::string bytes = safetensors_bytes(
      R"({"s":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"e":{"dtype":"F32","shape":[0,4],"data_offsets":[1,1]}})",
      "x");
  const auto file = SafetensorsFile::parse(as_span(bytes));
  EXPECT_EQ(file.find("s")->elements(), 1);
  EXPECT_EQ(file.find("e")->elements(), 0);
}

struct BadFile {
  const char* name;
  std::string header;
  std::string data;
  ErrorCode code;
  std::string says;
};

class SafetensorsBad : public testing::TestWithParam<BadFile> {};

TEST_P(SafetensorsBad, IsRefused) {
  const std::string bytes = safetensors_bytes(GetParam().header, GetParam().data);
  expect_error(GetParam().code, {"the file", GetParam().says},
               [&] { SafetensorsFile::parse(as_span(bytes), "the file"); });
}

// One tensor "t" of F32 [2] at [0, 8] with something changed.
std::string one(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"t":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

const std::string k8(8, 'x');
constexpr auto kBad = ErrorCode::kBadFile;

INSTANTIATE_TEST_SUITE_P(
    Table, SafetensorsBad,
    testing::Values(
        BadFile{"not_json", "{nope", k8, kBad, "not valid JSON"},
        BadFile{"not_an_object", "[1]", "", kBad, "expected a JSON object"},
        BadFile{"empty_header", "", "", kBad, "not valid JSON"},
        BadFile{"bad_utf8", "{\"\xff\":1}", "", kBad, "not valid JSON"},
        BadFile{"deep", R"({"t":{"shape":[[[[1]]]]}})", "", kBad, "nested deeper"},
        BadFile{"entry_is_number", R"({"t":5})", "", kBad, "tensor t should be an object"},
        BadFile{"no_dtype", R"({"t":{"shape":[2],"data_offsets":[0,8]}})", k8, kBad,
                "\"dtype\" should be a string"},
        BadFile{"dtype_number", one("3", "[2]", "[0,8]"), k8, kBad, "\"dtype\""},
        BadFile{"dtype_unknown", one("\"F8_E4M3\"", "[8]", "[0,8]"), k8, ErrorCode::kUnsupported, "F8_E4M3"},
        BadFile{"dtype_quantised", one("\"Q4_0\"", "[2]", "[0,8]"), k8, ErrorCode::kUnsupported, "Q4_0"},
        BadFile{"shape_missing", R"({"t":{"dtype":"F32","data_offsets":[0,8]}})", k8, kBad, "\"shape\""},
        BadFile{"shape_scalar", one("\"F32\"", "2", "[0,8]"), k8, kBad, "\"shape\" should be a list"},
        BadFile{"shape_negative", one("\"F32\"", "[-2]", "[0,8]"), k8, kBad, "found [-2]"},
        BadFile{"shape_fraction", one("\"F32\"", "[2.5]", "[0,8]"), k8, kBad, "[2.5]"},
        BadFile{"shape_wrong", one("\"F32\"", "[3]", "[0,8]"), k8, kBad, "should have 12 bytes, found 8"},
        BadFile{"shape_overflows", one("\"F32\"", "[4294967296,4294967296,4]", "[0,8]"), k8, kBad,
                "overflows"},
        BadFile{"bytes_overflow", one("\"F64\"", "[4611686018427387904]", "[0,8]"), k8, kBad, "overflows"},
        BadFile{"shape_too_large", one("\"F32\"", "[18446744073709551615]", "[0,8]"), k8, kBad, "\"shape\""},
        BadFile{"offsets_three", one("\"F32\"", "[2]", "[0,4,8]"), k8, kBad, "[begin, end]"},
        BadFile{"offsets_backwards", one("\"F32\"", "[2]", "[8,0]"), k8, kBad, "[begin, end]"},
        BadFile{"offsets_negative", one("\"F32\"", "[2]", "[-8,0]"), k8, kBad, "data_offsets"},
        BadFile{"truncated_data", one("\"F32\"", "[2]", "[0,8]"), "xxxx", kBad, "truncated"},
        BadFile{"bytes_left", one("\"F32\"", "[2]", "[0,8]"), k8 + "y", kBad,
                "1 bytes after the last tensor"},
        BadFile{"hole", one("\"F32\"", "[2]", "[4,12]"), k8 + "yyyy", kBad, "4 bytes before tensor t"},
        BadFile{
            "overlap",
            R"({"t":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},"u":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
            k8, kBad, "inside the one before it"},
        BadFile{
            "same_bytes",
            R"({"t":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"u":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})",
            k8, kBad, "inside the one before it"},
        BadFile{
            "name_twice",
            R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"t":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
            k8, kBad, "\"t\" comes twice"},
        BadFile{"metadata_list", R"({"__metadata__":[]})", "", kBad, "__metadata__"},
        BadFile{"metadata_number", R"({"__metadata__":{"a":1}})", "", kBad, "\"a\" should be a string"}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Safetensors, HeaderLengthIsChecked) {
  const auto parse = [](const std::string& bytes) { SafetensorsFile::parse(as_span(bytes)); };
  expect_error(kBad, {"at least 8 bytes", "found 5"}, [&] { parse("abcde"); });
  expect_error(kBad, {"at least 8 bytes", "found 0"}, [&] { parse(""); });
  expect_error(kBad, {"claims 9 bytes", "only 2 follow"}, [&] { parse(raw<uint64_t>(9) + "{}"); });
  expect_error(kBad, {"claims 100000001 bytes"}, [&] { parse(raw<uint64_t>(100'000'001) + "{}"); });
  expect_error(kBad, {"claims 18446744073709551615 bytes"}, [&] { parse(raw<uint64_t>(UINT64_MAX) + "{}"); });
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string whole = safetensors_bytes(kTwo, kElevenBytes);
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_THROW(SafetensorsFile::parse(as_span(std::string_view(whole).substr(0, n))), Error)
        << n << " bytes";
  }
}

TensorView view(std::string name, DType dtype, std::vector<int64_t> shape, std::string_view bytes) {
  return {std::move(name), dtype, std::move(shape), as_span(bytes)};
}

TEST(WriteSafetensors, GivesTheSameBytesInAnyOrder) {
  TempFolder folder;
  const TensorView a = view("a", DType::kI8, {3}, "abc"), b = view("b", DType::kF32, {2}, "01234567"),
                   c = view("c", DType::kF16, {1}, "xy");
  write_safetensors(folder / "one", std::vector{a, b, c}, {{"format", "pt"}});
  write_safetensors(folder / "two", std::vector{c, a, b}, {{"format", "pt"}});
  const std::string bytes = read_file(folder / "one");
  EXPECT_EQ(bytes, read_file(folder / "two"));
  // The header's length makes the data begin at a multiple of 8, and larger elements come first.
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), 8);
  EXPECT_EQ(header_bytes % 8, 0u);
  EXPECT_EQ(bytes.substr(8 + header_bytes), "01234567xyabc");
  const auto file = SafetensorsFile::open(folder / "one");
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.find("c")->shape, std::vector<int64_t>{1});
  EXPECT_EQ(file.find("c")->dtype, DType::kF16);
}

TEST(WriteSafetensors, RefusesWhatTheFormatCannotHoldAndKeepsTheOldFile) {
  TempFolder folder;
  write_file(folder / "f", "old");
  const auto refuses = [&](const std::vector<TensorView>& tensors, const std::string& says) {
    expect_error(ErrorCode::kInvalidArgument, {says}, [&] { write_safetensors(folder / "f", tensors); });
    EXPECT_EQ(read_file(folder / "f"), "old");
  };
  refuses({view("t", DType::kU8, {1}, "a"), view("t", DType::kU8, {1}, "b")}, "comes twice");
  refuses({view("t", DType::kU8, {2}, "a")}, "should have 2 bytes, got 1");
  refuses({view("t", DType::kU8, {-1}, "a")}, "shape");
  refuses({view("t", DType::kQ8_0, {32}, std::string(34, 'x'))}, "Q8_0");
  refuses({view("__metadata__", DType::kU8, {1}, "a")}, "__metadata__");
  expect_error(ErrorCode::kIo, {"cannot write"},
               [&] { write_safetensors(folder / "missing/f", std::vector<TensorView>{}); });
}

}  // namespace
}  // namespace beacon
