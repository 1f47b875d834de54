// Weight rows against the values that the gguf package reads from the same bytes.
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "kernel_test.h"
#include "kernels/convert.h"
#include "kernels/reference/reference.h"

namespace beacon::kernels {
namespace {

constexpr DType kTypes[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0,
                            DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                            DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
constexpr int64_t kElements = 512;

class DequantizeTest : public KernelTest {};
BEACON_FOR_EVERY_ISA(DequantizeTest);

std::vector<std::byte> read_file(const std::string& name) {
  const std::filesystem::path path = std::filesystem::path(BEACON_TEST_DATA_DIR) / "kernels" / name;
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  std::vector<std::byte> bytes(std::filesystem::file_size(path));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

struct Fixture {
  std::vector<std::byte> blocks;
  std::vector<float> values;
};

Fixture read_fixture(DType type) {
  const std::string name(dtype_info(type).name);
  Fixture fixture{read_file(name + ".blocks"), std::vector<float>(kElements)};
  const auto values = read_file(name + ".f32");
  EXPECT_EQ(fixture.blocks.size(), dtype_bytes(type, kElements));
  EXPECT_EQ(values.size(), kElements * sizeof(float));
  std::memcpy(fixture.values.data(), values.data(), values.size());
  return fixture;
}

TEST_P(DequantizeTest, EqualsGgufBitForBit) {
  for (const DType type : kTypes) {
    const Fixture fixture = read_fixture(type);
    std::vector<float> actual(kElements);
    dequantize_row(type, fixture.blocks.data(), actual.data(), kElements);
    EXPECT_EQ(std::memcmp(actual.data(), fixture.values.data(), kElements * sizeof(float)), 0)
        << dtype_info(type).name;
  }
}

TEST_P(DequantizeTest, Bf16IsTheRoundedF32) {
  for (const DType type : kTypes) {
    const Fixture fixture = read_fixture(type);
    std::vector<uint16_t> actual(kElements);
    dequantize_row_bf16(type, fixture.blocks.data(), actual.data(), kElements);
    for (int64_t i = 0; i < kElements; ++i)
      ASSERT_EQ(actual[i], reference::f32_to_bf16_one(fixture.values[i]))
          << dtype_info(type).name << " " << i;
  }
}

TEST_P(DequantizeTest, ReadsUnalignedRowsOfAnyLength) {
  for (const DType type : kTypes) {
    const Fixture fixture = read_fixture(type);
    const int64_t block = dtype_info(type).block_elements;
    for (int64_t n = 0; n <= kElements; n += block == 1 ? 7 : block) {
      // Of exactly the size needed, so that a sanitizer sees a read or write beyond the end; one byte off
      // alignment.
      std::vector<std::byte> bytes(1 + *dtype_bytes(type, static_cast<uint64_t>(n)));
      std::memcpy(bytes.data() + 1, fixture.blocks.data(), bytes.size() - 1);
      std::vector<float> actual(static_cast<size_t>(n) + 1, -7.0F);
      dequantize_row(type, bytes.data() + 1, actual.data(), n);
      for (int64_t i = 0; i < n; ++i)
        ASSERT_EQ(actual[i], fixture.values[i]) << dtype_info(type).name << " " << i;
      ASSERT_EQ(actual[n], -7.0F);
    }
  }
}

TEST_P(DequantizeTest, ScalesThatAreNoNumbersGiveNoNumbers) {
  for (const uint16_t scale : {0x7C00, 0xFC00, 0x7E00, 0x7C01}) {
    for (const DType type : kTypes) {
      if (!is_quantised(type)) continue;
      Fixture fixture = read_fixture(type);
      const int64_t size = dtype_info(type).block_bytes;
      const int64_t offset = type == DType::kQ6_K ? 208 : 0;
      for (size_t b = 0; b < fixture.blocks.size(); b += static_cast<size_t>(size))
        std::memcpy(fixture.blocks.data() + b + offset, &scale, sizeof scale);
      std::vector<float> actual(kElements);
      std::vector<float> expected(kElements);
      dequantize_row(type, fixture.blocks.data(), actual.data(), kElements);
      reference::dequantize_row(type, fixture.blocks.data(), expected.data(), kElements);
      for (int64_t i = 0; i < kElements; ++i) {
        ASSERT_EQ(std::isnan(actual[i]), std::isnan(expected[i])) << dtype_info(type).name << " " << i;
        if (!std::isnan(expected[i])) {
          ASSERT_EQ(actual[i], expected[i]);
        }
      }
    }
  }
}

TEST_P(DequantizeTest, OtherTypesAreZeros) {
  std::vector<std::byte> bytes(64, std::byte{1});
  std::vector<float> actual(8, 3.0F);
  dequantize_row(DType::kI32, bytes.data(), actual.data(), 8);
  EXPECT_EQ(actual, std::vector<float>(8, 0.0F));
  EXPECT_FALSE(is_weight_type(DType::kI8));
  EXPECT_TRUE(is_weight_type(DType::kQ6_K));
}

}  // namespace
}  // namespace beacon::kernels
