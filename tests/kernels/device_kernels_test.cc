// The kernels of a GPU, compiled as plain loops, against the reference: every block format, and the numbers
// that rounding and halves are hard for.
#include "kernels/cuda/device_kernels.h"

#include <limits>

#include "kernels/cuda/split_blocks.h"
#include "kernels/cuda/weights.h"
#include "linear_fixture.h"

namespace beacon::kernels {
namespace {

constexpr DType kFormats[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                              DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};

// As a GPU keeps them.
struct alignas(16) SixteenAligned {
  std::byte bytes[16];
};
struct Packed {
  WeightRows rows;
  std::vector<SixteenAligned> storage;
  DeviceBlocks blocks;
};

Packed packed(DType type, int64_t out, int64_t in, std::mt19937& random) {
  Packed made{random_weights(type, out, in, random), {}, {}};
  const int64_t row_bytes = device_row_bytes(type, in);
  made.storage.resize(static_cast<size_t>(out * row_bytes / 16));
  auto* data = reinterpret_cast<std::byte*>(made.storage.data());
  for (int64_t o = 0; o < out; ++o) split_row(type, in, made.rows.row(o), data + o * row_bytes);
  made.blocks = {type, data, out, in, row_bytes};
  return made;
}

class DeviceKernelsTest : public testing::Test {
 protected:
  std::vector<uint16_t> bf16(int64_t n) {
    std::normal_distribution<float> draw(0.0F, 1.0F);
    std::vector<uint16_t> values(static_cast<size_t>(n));
    for (uint16_t& value : values) value = reference::f32_to_bf16_one(draw(random_));
    return values;
  }
  std::mt19937 random_{77};
  const DeviceKernels& kernels_ = *beacon_device_kernels();
};

TEST_F(DeviceKernelsTest, ExpandsEveryFormat) {
  for (const DType type : kFormats) {
    SCOPED_TRACE(dtype_info(type).name);
    const Packed w = packed(type, 5, 512, random_);
    for (const auto& index : {std::vector<int64_t>{}, std::vector<int64_t>{4, 0, 4}}) {
      const int64_t count = index.empty() ? 5 : static_cast<int64_t>(index.size());
      std::vector<uint16_t> to(static_cast<size_t>(count * 512));
      ASSERT_EQ(
          kernels_.expand_rows({w.blocks, index.empty() ? nullptr : index.data(), count, to.data()}, nullptr),
          nullptr);
      for (int64_t r = 0; r < count; ++r) {
        const std::vector<float> expected = w.rows.values(index.empty() ? r : index[static_cast<size_t>(r)]);
        for (int64_t i = 0; i < 512; ++i) {
          const float value = bf16_to_float(to[static_cast<size_t>(r * 512 + i)]);
          const float wanted = expected[static_cast<size_t>(i)];
          // One rounding to bf16; the sum of scale and minimum is rounded before it, in another order.
          ASSERT_NEAR(value, wanted, 0x1p-8 * std::fabs(wanted) + 1e-6) << "row " << r << ", element " << i;
        }
      }
    }
  }
}

// The product of a row of x with the weight's output o, and how large it could have been.
struct Exact {
  double value, size;
};
Exact product(const Packed& w, int64_t o, const uint16_t* x) {
  Exact exact{0.0, 1.0};
  const std::vector<float> values = w.rows.values(o);
  for (size_t i = 0; i < values.size(); ++i) {
    const double term = static_cast<double>(values[i]) * bf16_to_float(x[i]);
    exact.value += term;
    exact.size += std::fabs(term);
  }
  return exact;
}

TEST_F(DeviceKernelsTest, MultipliesFewRowsOfEveryFormat) {
  constexpr int64_t kIn = 1280;  // more units than lanes, and not the same number for all
  constexpr int64_t kStride = 9;
  const std::vector<float> bias = {0.5F, -1.0F, 2.0F, 0.0F, 3.0F, -2.5F, 1.0F};
  for (const DType type : kFormats) {
    const Packed weights[] = {packed(type, 7, kIn, random_), packed(type, 2, kIn, random_),
                              packed(type, 5, kIn, random_)};
    for (int64_t rows = 1; rows <= kDeviceFewRows; ++rows) {
      for (int32_t num = 1; num <= kDeviceTargets; ++num) {
        SCOPED_TRACE(testing::Message()
                     << dtype_info(type).name << ", " << rows << " rows, " << num << " weights");
        const std::vector<uint16_t> x = bf16(rows * kIn);
        std::vector<std::vector<float>> y(static_cast<size_t>(num),
                                          std::vector<float>(static_cast<size_t>(rows * kStride), NAN));
        DeviceLinear p;
        p.num_targets = num;
        p.x = x.data();
        p.x_stride = kIn;
        p.rows = rows;
        for (int32_t t = 0; t < num; ++t) {
          const auto of = static_cast<size_t>(t);
          p.targets[t] = {weights[of].blocks, (rows + t) % 2 == 0 ? bias.data() : nullptr, DType::kF32,
                          y[of].data(), kStride};
        }
        ASSERT_EQ(kernels_.linear_rows(p, nullptr), nullptr);
        for (int32_t t = 0; t < num; ++t) {
          for (int64_t r = 0; r < rows; ++r) {
            for (int64_t o = 0; o < p.targets[t].weight.out; ++o) {
              const Exact exact = product(weights[static_cast<size_t>(t)], o, x.data() + r * kIn);
              const double more = p.targets[t].bias == nullptr ? 0.0 : bias[static_cast<size_t>(o)];
              ASSERT_NEAR(y[static_cast<size_t>(t)][static_cast<size_t>(r * kStride + o)], exact.value + more,
                          64 * kEps * exact.size)
                  << t << ", " << r << ", " << o;
            }
          }
        }
      }
    }
  }
}

TEST_F(DeviceKernelsTest, RefusesWhatItHasNoKernelFor) {
  DeviceLinear p;
  p.num_targets = 1;
  p.targets[0].weight.type = DType::kF16;
  p.targets[0].weight.out = 1;
  p.rows = 1;
  EXPECT_NE(kernels_.linear_rows(p, nullptr), nullptr);
  p.targets[0].weight.type = DType::kQ8_0;
  p.rows = kDeviceFewRows + 1;
  EXPECT_NE(kernels_.linear_rows(p, nullptr), nullptr);
  p.rows = 1;
  p.num_targets = 2;
  p.targets[1].weight.type = DType::kQ4_0;
  EXPECT_NE(kernels_.linear_rows(p, nullptr), nullptr);
  DeviceAttention a;
  a.head_dim = 20;
  EXPECT_NE(kernels_.attention(a, nullptr), nullptr);
  a.head_dim = 264;
  EXPECT_NE(kernels_.attention(a, nullptr), nullptr);
}

TEST_F(DeviceKernelsTest, HalvesAreExact) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float expected = reference::f16_to_f32_one(static_cast<uint16_t>(bits));
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(value)) << bits;
    } else {
      ASSERT_EQ(bits_of_float(value), bits_of_float(expected)) << bits;
    }
  }
}

TEST_F(DeviceKernelsTest, Bf16IsRoundedToNearestEven) {
  std::vector<float> values = {0.0F,
                               -0.0F,
                               1.0F,
                               std::numeric_limits<float>::max(),
                               -3.4e38F,
                               std::numeric_limits<float>::infinity(),
                               1e-40F,
                               float_of_bits(0x3F808000U),
                               float_of_bits(0x3F818000U),
                               float_of_bits(0x3F808001U)};
  for (int i = 0; i < 1000; ++i)
    values.push_back(float_of_bits(static_cast<uint32_t>(random_()) & 0xFF7FFFFFU));
  for (const float value : values)
    ASSERT_EQ(float_to_bf16(value), reference::f32_to_bf16_one(value)) << bits_of_float(value);
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(float_of_bits(0x7F800001U)))));
}

}  // namespace
}  // namespace beacon::kernels
