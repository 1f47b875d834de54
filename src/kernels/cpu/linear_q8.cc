// Products of 8-bit weights or weights in nibbles with 8-bit activations.
#include "kernels/cpu/formats.h"
#include "kernels/cpu/functions.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef uint8_t Bytes16Memory __attribute__((vector_size(16), aligned(1), may_alias));
typedef int32_t I4 __attribute__((vector_size(16)));

// 32 weights as bytes; what they mean together with scale and minimum is up to the format.
struct Bytes32 {
  Bytes16 low;
  Bytes16 high;
};

BEACON_INLINE Bytes16 load_bytes(const void* p) { return *static_cast<const Bytes16Memory*>(p); }

// The four sums of neighbouring products; kSigned: the weights are signed, else they are below 128.
template <bool kSigned>
BEACON_INLINE I4 dot16(Bytes16 w, Bytes16 x) {
#if defined(__SSSE3__)
  __m128i weights = (__m128i)w;
  __m128i values = (__m128i)x;
  // The product of unsigned and signed bytes: move the sign of the weight over to the activation. Two
  // products of at most 128 * 127 fit 16 bits.
  if constexpr (kSigned) {
    values = _mm_sign_epi8(values, weights);
    weights = _mm_abs_epi8(weights);
  }
  return (I4)_mm_madd_epi16(_mm_maddubs_epi16(weights, values), _mm_set1_epi16(1));
#else
  typedef int8_t Signed16 __attribute__((vector_size(16)));
  typedef int32_t I16 __attribute__((vector_size(64)));
  const I16 products = __builtin_convertvector(reinterpret_cast<Signed16>(w), I16) *
                       __builtin_convertvector(reinterpret_cast<Signed16>(x), I16);
  I4 sums = {};
  for (int i = 0; i < 16; ++i) sums[i % 4] += products[i];
  return sums;
#endif
}

#if defined(__AVX2__)
typedef float Sums __attribute__((vector_size(32)));

template <bool kSigned>
BEACON_INLINE Sums dot32(const Bytes32& w, const int8_t* x) {
  __m256i weights = _mm256_set_m128i((__m128i)w.high, (__m128i)w.low);
  __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
  if constexpr (kSigned) {
    values = _mm256_sign_epi8(values, weights);
    weights = _mm256_abs_epi8(weights);
  }
  return _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_maddubs_epi16(weights, values), _mm256_set1_epi16(1)));
}

BEACON_INLINE float sum_all(Sums v) {
  const F4 s = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
  return (s[0] + s[2]) + (s[1] + s[3]);
}
#else
typedef F4 Sums;

template <bool kSigned>
BEACON_INLINE Sums dot32(const Bytes32& w, const int8_t* x) {
  return __builtin_convertvector(
      dot16<kSigned>(w.low, load_bytes(x)) + dot16<kSigned>(w.high, load_bytes(x + 16)), F4);
}

BEACON_INLINE float sum_all(Sums s) { return (s[0] + s[2]) + (s[1] + s[3]); }
#endif

// Each format: element i of a block is scale * w[i] + minimum.
struct Weights8 {
  static constexpr bool kSigned = true, kHasMinimum = false;
  static BEACON_INLINE Bytes32 load(const uint8_t* row, int64_t b, float& scale, float& /*minimum*/) {
    const uint8_t* block = row + 34 * b;
    scale = f16_at(block);
    return {load_bytes(block + 2), load_bytes(block + 18)};
  }
};

struct Weights40 {
  static constexpr bool kSigned = false, kHasMinimum = true;
  static BEACON_INLINE Bytes32 load(const uint8_t* row, int64_t b, float& scale, float& minimum) {
    const uint8_t* block = row + 18 * b;
    scale = f16_at(block);
    minimum = -8 * scale;
    const Bytes16 packed = load_bytes(block + 2);
    return {packed & 15, packed >> 4};
  }
};

struct Weights41 {
  static constexpr bool kSigned = false, kHasMinimum = true;
  static BEACON_INLINE Bytes32 load(const uint8_t* row, int64_t b, float& scale, float& minimum) {
    const uint8_t* block = row + 20 * b;
    scale = f16_at(block);
    minimum = f16_at(block + 2);
    const Bytes16 packed = load_bytes(block + 4);
    return {packed & 15, packed >> 4};
  }
};

template <typename Format, int R>
void q8_tile(const LinearQ8Params& p, int64_t r0, int64_t o_begin, int64_t o_end) {
  const Q8Block* x = p.x + r0 * p.x_stride;
  for (int64_t o = o_begin; o < o_end; ++o) {
    const auto* w = reinterpret_cast<const uint8_t*>(p.weight + o * p.weight_row_bytes);
    Sums total[R] = {};
    float minima[R] = {};
    for (int64_t b = 0; b < p.in / 32; ++b) {
      float scale = 0;
      float minimum = 0;
      const Bytes32 weights = Format::load(w, b, scale, minimum);
      BEACON_UNROLL
      for (int r = 0; r < R; ++r) {
        const Q8Block& block = x[r * p.x_stride + b];
        total[r] = dot32<Format::kSigned>(weights, block.q) * (scale * block.scale) + total[r];
        if constexpr (Format::kHasMinimum) minima[r] += minimum * block.sum;
      }
    }
    for (int r = 0; r < R; ++r) {
      float sum = sum_all(total[r]) + minima[r];
      if (p.bias != nullptr) sum += p.bias[o];
      float* y = p.y + (r0 + r) * p.y_stride + o;
      *y = p.accumulate ? *y + sum : sum;
    }
  }
}

template <typename Format>
void q8_format(const LinearQ8Params& p, int64_t o_begin, int64_t o_end) {
  int64_t r = 0;
  for (; r + 4 <= p.rows; r += 4) q8_tile<Format, 4>(p, r, o_begin, o_end);
  if (p.rows - r >= 2) {
    q8_tile<Format, 2>(p, r, o_begin, o_end);
    r += 2;
  }
  if (p.rows - r >= 1) q8_tile<Format, 1>(p, r, o_begin, o_end);
}

// Values below 2^22 in size: adding 1.5 * 2^23 rounds to the nearest even integer and leaves it in the low
// bits.
BEACON_INLINE VI round_to_int(VF v) { return as_int(v + 12582912.0F) - as_int(broadcast(12582912.0F)); }

void quantize_block(const float* x, Q8Block& block) {
  VF size = {};
  VF poison = {};
  for (int v = 0; v < kVectors; ++v) {
    const VF value = load(x + kLanes * v);
    size = larger(as_float(as_bits(value) & 0x7FFFFFFFU), size);
    poison = poison + (value - value);  // 0, or NaN from a NaN or an infinity
  }
  const float largest = largest_lane(size);
  const float poisoned = sum_lanes(poison);
  const bool finite = poisoned == 0.0F;
  // Below this the inverse would overflow; such a block is zero for every purpose.
  const bool zero = largest < 1e-30F;
  const float inverse = zero || !finite ? 0.0F : 127.0F / largest;
  VI sums = {};
  for (int v = 0; v < kVectors; ++v) {
    const VI q = finite ? round_to_int(load(x + kLanes * v) * inverse) : VI{};
    sums += q;
    for (int i = 0; i < kLanes; ++i) block.q[kLanes * v + i] = static_cast<int8_t>(q[i]);
  }
  int sum = 0;
  for (int i = 0; i < kLanes; ++i) sum += sums[i];
  block.scale = !finite ? __builtin_nanf("") : zero ? 0.0F : largest / 127.0F;
  block.sum = block.scale * static_cast<float>(sum);
}

}  // namespace

void quantize_activations_q8(const float* x, Q8Block* dst, int64_t n) noexcept {
  for (int64_t b = 0; b < n / 32; ++b) quantize_block(x + 32 * b, dst[b]);
}

void linear_rows_q8(const LinearQ8Params& p, int64_t o_begin, int64_t o_end) noexcept {
  switch (p.weight_type) {
    case DType::kQ8_0:
      q8_format<Weights8>(p, o_begin, o_end);
      return;
    case DType::kQ4_0:
      q8_format<Weights40>(p, o_begin, o_end);
      return;
    case DType::kQ4_1:
      q8_format<Weights41>(p, o_begin, o_end);
      return;
    default:
      return;
  }
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
