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

// Attention of one KV head by its definition, in double: out [rows * heads, H].
std::vector<double> attention_exactly(const DeviceAttention& p) {
  const auto* q = static_cast<const float*>(p.q);
  const auto* k = static_cast<const float*>(p.k);
  const auto* v = static_cast<const float*>(p.v);
  std::vector<double> out;
  for (int64_t r = 0; r < p.rows; ++r) {
    for (int64_t n = 0; n < p.heads; ++n) {
      std::vector<double> weights, sum(static_cast<size_t>(p.head_dim), 0.0);
      double total = 0;
      for (int64_t s = 0; s <= p.keys - p.rows + r; ++s) {
        double score = 0;
        for (int64_t i = 0; i < p.head_dim; ++i)
          score +=
              static_cast<double>(q[r * p.q_row_stride + n * p.head_dim + i]) * k[s * p.k_row_stride + i];
        weights.push_back(std::exp(p.scale * score));
        total += weights.back();
        for (int64_t i = 0; i < p.head_dim; ++i)
          sum[static_cast<size_t>(i)] += weights.back() * v[s * p.v_row_stride + i];
      }
      for (const double each : sum) out.push_back(each / total);
    }
  }
  return out;
}

TEST_F(DeviceKernelsTest, AttentionOverChunksOfManyKeysAndManyChunks) {
  std::normal_distribution<float> draw(0.0F, 1.0F);
  struct Case {
    int64_t rows, heads, keys, chunk;
  };
  for (const Case& c :
       {Case{1, 1, 500, 96}, {1, 2, 1500, 32}, {2, 7, 300, 288}, {3, 3, 3000, 64}, {1, 4, 33, 32}}) {
    SCOPED_TRACE(testing::Message() << c.rows << " rows, " << c.heads << " heads, " << c.keys << " keys");
    constexpr int64_t kHead = 24;
    const auto random = [&](int64_t n, float size) {
      std::vector<SixteenAligned> held(static_cast<size_t>(n * 4 / 16));
      auto* values = reinterpret_cast<float*>(held.data());
      for (int64_t i = 0; i < n; ++i) values[i] = size * draw(random_);
      return held;
    };
    const auto q = random(c.rows * c.heads * kHead, 3.0F), k = random(c.keys * kHead, 1.0F),
               v = random(c.keys * kHead, 1.0F);
    std::vector<float> out(static_cast<size_t>(c.rows * c.heads * kHead), NAN);
    DeviceAttention p;
    p.q_type = p.kv_type = p.out_type = DType::kF32;
    p.q = q.data();
    p.k = k.data();
    p.v = v.data();
    p.out = out.data();
    p.q_row_stride = p.out_row_stride = c.heads * kHead;
    p.k_row_stride = p.v_row_stride = kHead;
    p.scale = 0.2F;
    p.rows = c.rows;
    p.keys = c.keys;
    p.heads = c.heads;
    p.kv_heads = 1;
    p.head_dim = kHead;
    p.chunk_keys = c.chunk;
    std::vector<SixteenAligned> partials(static_cast<size_t>(device_attention_partials(p) / 4 + 1));
    p.partials = reinterpret_cast<float*>(partials.data());
    ASSERT_EQ(kernels_.attention(p, nullptr), nullptr);
    const std::vector<double> expected = attention_exactly(p);
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_NEAR(out[i], expected[i], 200 * kEps) << i;
  }
}

// As many chunks as there is work for, none of them empty.
TEST_F(DeviceKernelsTest, ChunksShareTheKeys) {
  for (const int64_t keys : {1, 31, 33, 4224, 4225, 131072}) {
    DeviceAttention p;
    p.rows = 1;
    p.heads = 32;
    p.kv_heads = 8;
    p.keys = keys;
    const int64_t chunk = device_attention_chunk(p), chunks = (keys + chunk - 1) / chunk;
    EXPECT_EQ(chunk % 32, 0) << keys;
    EXPECT_LE(chunks * p.kv_heads, 1056) << keys;
    EXPECT_TRUE(chunk == 32 || (chunk - 32) * (1056 / p.kv_heads) < keys) << keys;  // no larger than need be
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
