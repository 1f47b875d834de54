// Products of quantised weights with 15-bit activations, byte by byte: the weights are read and unpacked to
// bytes once for up to eight rows, and every load of activations serves two rows of weights. With VNNI 3 rows
// or more are for linear_q15_panel.h.
#include "kernels/cpu/byte_formats.h"
#include "kernels/cpu/functions.h"
#include "kernels/cpu/linear_q15_panel.h"
#include "kernels/cpu/round_block.h"

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

#if defined(__SSSE3__) && !defined(__AVX512VNNI__)
#define BEACON_BYTE_PAIRS 1

typedef int16_t VS __attribute__((vector_size(4 * kLanes)));

// Sums of two neighbouring products in every 16 bits. kSigned: the weights are signed, too. Signs then move
// over from the weight to the activation, which is never -128: 128 * 127 * 2 fits.
template <bool kSigned>
BEACON_INLINE VS byte_pairs(VB weights, VB x) {
#if defined(__AVX512F__)
  __m512i w = (__m512i)weights;
  __m512i v = (__m512i)x;
  if constexpr (kSigned) {
    v = _mm512_mask_sub_epi8(v, _mm512_movepi8_mask(w), _mm512_setzero_si512(), v);
    w = _mm512_abs_epi8(w);
  }
  return (VS)_mm512_maddubs_epi16(w, v);
#elif defined(__AVX2__)
  __m256i w = (__m256i)weights;
  __m256i v = (__m256i)x;
  if constexpr (kSigned) {
    v = _mm256_sign_epi8(v, w);
    w = _mm256_abs_epi8(w);
  }
  return (VS)_mm256_maddubs_epi16(w, v);
#else
  __m128i w = (__m128i)weights;
  __m128i v = (__m128i)x;
  if constexpr (kSigned) {
    v = _mm_sign_epi8(v, w);
    w = _mm_abs_epi8(w);
  }
  return (VS)_mm_maddubs_epi16(w, v);
#endif
}

// Sums of two neighbours, times a factor, in every lane.
BEACON_INLINE VI word_pairs(VS v, int16_t factor) {
#if defined(__AVX512F__)
  return (VI)_mm512_madd_epi16((__m512i)v, _mm512_set1_epi16(factor));
#elif defined(__AVX2__)
  return (VI)_mm256_madd_epi16((__m256i)v, _mm256_set1_epi16(factor));
#else
  return (VI)_mm_madd_epi16((__m128i)v, _mm_set1_epi16(factor));
#endif
}
#endif

// The sums of four neighbouring products in every lane; kSigned: the weights are signed, too.
template <bool kSigned>
BEACON_INLINE VI dot(VB weights, VB x) {
#if defined(__AVX512VNNI__)
  static_assert(!kSigned);
  return (VI)_mm512_dpbusd_epi32(_mm512_setzero_si512(), (__m512i)weights, (__m512i)x);
#elif defined(BEACON_BYTE_PAIRS)
  return word_pairs(byte_pairs<kSigned>(weights, x), 1);
#else
  typedef int8_t Signed __attribute__((vector_size(4 * kLanes)));
  const Signed v = reinterpret_cast<Signed>(x);
  VI sums = {};
  for (int i = 0; i < 4 * kLanes; ++i) {
    const int w = kSigned ? reinterpret_cast<Signed>(weights)[i] : weights[i];
    sums[i / 4] += w * v[i];
  }
  return sums;
#endif
}

// kBlocks blocks of a group, from byte `at` (lane at / 4) on.
struct Activations {
  VF scale;
  VI sums;
  VB high_first, high_second, low_first, low_second;
};

BEACON_INLINE Activations load_activations(const Q15Group& group, int64_t at) {
  return {load(group.scale + at / 4),     as_int(load(group.sums + at / 4)), load_bytes(group.high[0] + at),
          load_bytes(group.high[1] + at), load_bytes(group.low[0] + at),     load_bytes(group.low[1] + at)};
}

// The products of both halves of every block.
template <bool kSigned>
BEACON_INLINE VI dot_block(const ByteWeights& w, const Activations& x) {
#if defined(__AVX512VNNI__)
  const auto both = [&w](VI sums, VB first, VB second) {
    const __m512i half = _mm512_dpbusd_epi32((__m512i)sums, (__m512i)w.first, (__m512i)first);
    return (VI)_mm512_dpbusd_epi32(half, (__m512i)w.second, (__m512i)second);
  };
  return both(both(VI{}, x.high_first, x.high_second) << 7, x.low_first, x.low_second);
#else
#if defined(BEACON_BYTE_PAIRS)
  if constexpr (!kSigned) {
    // The bytes are below 64: 4 * 63 * 127 fits 16 bits.
    const VS high = byte_pairs<false>(w.first, x.high_first) + byte_pairs<false>(w.second, x.high_second);
    const VS low = byte_pairs<false>(w.first, x.low_first) + byte_pairs<false>(w.second, x.low_second);
    return word_pairs(high, 128) + word_pairs(low, 1);
  }
#endif
  const VI high = dot<kSigned>(w.first, x.high_first) + dot<kSigned>(w.second, x.high_second);
  return (high << 7) + dot<kSigned>(w.first, x.low_first) + dot<kSigned>(w.second, x.low_second);
#endif
}

// The products of one half of every block.
template <bool kSigned>
BEACON_INLINE VI dot_half(VB weights, VB high, VB low) {
  return (dot<kSigned>(weights, high) << 7) + dot<kSigned>(weights, low);
}

// Adds the products of weights and activations. Whole numbers up to the last step: of 255 * 16256 * 8 at
// most.
template <typename Format>
BEACON_INLINE void add_products(const ByteWeights& w, const Activations& x, VF& total) {
  constexpr bool kSigned = Format::kSigned;
  if constexpr (Format::kTwoScales) {
    const VB offset = VB{} + static_cast<uint8_t>(Format::kOffset);
    const VI first = dot_half<kSigned>(w.first, x.high_first, x.low_first) -
                     dot_half<false>(offset, x.high_first, x.low_first);
    const VI second = dot_half<kSigned>(w.second, x.high_second, x.low_second) -
                      dot_half<false>(offset, x.high_second, x.low_second);
    total = multiply_add(to_float(first), w.scale * x.scale, total);
    total = multiply_add(to_float(second), w.scale_second * x.scale, total);
  } else {
    const VI products = dot_block<kSigned>(w, x) - Format::kOffset * x.sums;
    total = multiply_add(to_float(products), w.scale * x.scale, total);
    if constexpr (Format::kHasMinimum) total = multiply_add(w.minimum, to_float(x.sums) * x.scale, total);
  }
}

// Bytes between what is computed and what is fetched: about the latency of memory times its speed.
constexpr int64_t kAhead = 8192;

template <typename Format, int R, int O>
struct Tile {
  const Q15Group* x;
  int64_t x_stride;
  const uint8_t* rows[O];
  const uint8_t* ahead;  // what is to be read a little later
  VF total[O * R];       // of weight row o and activation row r at o * R + r

  // Blocks [b, b + kBlocks) of every row, or the `count` last ones.
  template <bool kPart>
  BEACON_INLINE void add(int64_t b, int64_t count) {
    // The processor's own prefetching does not follow O rows at a time.
    constexpr int kStep = O * Format::kGroupBytes * kBlocks / 4;
    BEACON_UNROLL
    for (int i = 0; i < kStep; i += 64) __builtin_prefetch(ahead + i);
    ahead += kStep;
    BEACON_UNROLL
    for (int o = 0; o < O; ++o) {
      ByteWeights w;
      Format::template load<kPart>(rows[o], b, count, w);
      BEACON_UNROLL
      for (int r = 0; r < R; ++r) {
        const Activations values = load_activations(x[r * x_stride + b / 4], 16 * (b % 4));
        add_products<Format>(w, values, total[o * R + r]);
      }
    }
  }
};

// Weight rows [o0, o0 + count), count <= O: the rows that are not there repeat the last one.
template <typename Format, int R, int O>
BEACON_INLINE void multiply_tile(const LinearQ15Params& p, int64_t r0, int64_t o0, int64_t count) {
  Tile<Format, R, O> tile = {};
  tile.x = p.x + r0 * p.x_stride;
  tile.x_stride = p.x_stride;
  BEACON_UNROLL
  for (int o = 0; o < O; ++o) {
    const int64_t row = o0 + (o < count ? o : count - 1);
    tile.rows[o] = reinterpret_cast<const uint8_t*>(p.weight + row * p.weight_row_bytes);
  }
  tile.ahead = tile.rows[0] + kAhead;
  const int64_t blocks = p.in / 32;
  const int64_t whole = blocks / kBlocks * kBlocks;
  for (int64_t b = 0; b < whole; b += kBlocks) tile.template add<false>(b, kBlocks);
  if (whole < blocks) tile.template add<true>(whole, blocks - whole);

  float sums[O * R];
  BEACON_UNROLL
  for (int i = 0; i < O * R; ++i) sums[i] = sum_lanes(tile.total[i]);
  for (int r = 0; r < R; ++r) {
    float* y = p.y + (r0 + r) * p.y_stride + o0;
    for (int64_t o = 0; o < count; ++o) {
      const float sum = sums[o * R + r] + (p.bias != nullptr ? p.bias[o0 + o] : 0.0F);
      y[o] = p.accumulate ? y[o] + sum : sum;
    }
  }
}

template <typename Format, int R>
void multiply_rows(const LinearQ15Params& p, int64_t r0, int64_t o_begin, int64_t o_end) {
  // Two rows of weights share the loads of x; more read worse from memory, and eight sums are enough to hide
  // the latency of each.
  constexpr int kOutputs = R == 8 ? 1 : 2;
  for (int64_t o = o_begin; o < o_end; o += kOutputs) {
    multiply_tile<Format, R, kOutputs>(p, r0, o, o_end - o < kOutputs ? o_end - o : kOutputs);
  }
}

template <typename Format>
void multiply_format(const LinearQ15Params& p, int64_t o_begin, int64_t o_end) {
#if defined(__AVX512VNNI__)
  if (p.rows == 1) return multiply_rows<Format, 1>(p, 0, o_begin, o_end);
  if (p.rows == 2) return multiply_rows<Format, 2>(p, 0, o_begin, o_end);
  for (int64_t r = 0; r < p.rows; r += kRowsOfPanel)
    multiply_in_panels<Format>(p, r, p.rows - r < kRowsOfPanel ? p.rows - r : kRowsOfPanel, o_begin, o_end);
#else
  // Weights of this many rows stay in the first cache while all rows of x pass over them.
  const int64_t together = 16384 / (p.weight_row_bytes + 1) / 4 * 4 + 4;
  for (int64_t o = o_begin; o < o_end; o += together) {
    const int64_t end = o_end - o < together ? o_end : o + together;
    int64_t r = 0;
    for (; r + 8 <= p.rows; r += 8) multiply_rows<Format, 8>(p, r, o, end);
    if (p.rows - r >= 4) {
      multiply_rows<Format, 4>(p, r, o, end);
      r += 4;
    }
    if (p.rows - r >= 2) {
      multiply_rows<Format, 2>(p, r, o, end);
      r += 2;
    }
    if (p.rows - r >= 1) multiply_rows<Format, 1>(p, r, o, end);
  }
#endif
}

typedef int32_t I4Memory __attribute__((vector_size(16), aligned(1), may_alias));

// Sums of the lanes with the same number modulo four; they are whole numbers that f32 holds.
BEACON_INLINE I4Memory fold_whole(VI v) { return __builtin_convertvector(fold_sum(to_float(v)), I4Memory); }

// Block b of a group.
void quantize_block(const float* x, Q15Group& group, int64_t b) {
  typedef int8_t VC __attribute__((vector_size(kLanes)));
  const RoundedBlock block = round_block(x);
  int8_t high[32], low[32];
  VI sums = {};
  BEACON_UNROLL
  for (int v = 0; v < 32 / kLanes; ++v) {
    const VI q = block.q[v];
    const VI upper = (q + 64) >> 7;
    const VC high_bytes = __builtin_convertvector(upper, VC);
    const VC low_bytes = __builtin_convertvector(q - (upper << 7), VC);
    __builtin_memcpy(high + kLanes * v, &high_bytes, sizeof high_bytes);
    __builtin_memcpy(low + kLanes * v, &low_bytes, sizeof low_bytes);
    sums += q;
  }
  *reinterpret_cast<F4Memory*>(group.scale + 4 * b) = block.scale - F4{};
  *reinterpret_cast<I4Memory*>(group.sums + 4 * b) = fold_whole(sums);
  for (int half = 0; half < 2; ++half) {
    __builtin_memcpy(group.high[half] + 16 * b, high + 16 * half, 16);
    __builtin_memcpy(group.low[half] + 16 * b, low + 16 * half, 16);
  }
}

}  // namespace

void quantize_activations_q15(const float* x, Q15Group* dst, int64_t n) noexcept {
  const int64_t blocks = n / 32;
  for (int64_t b = 0; b < blocks; ++b) quantize_block(x + 32 * b, dst[b / 4], b % 4);
  const float zeros[32] = {};
  for (int64_t b = blocks; b % 4 != 0; ++b) quantize_block(zeros, dst[b / 4], b % 4);
}

void linear_rows_q15(const LinearQ15Params& p, int64_t o_begin, int64_t o_end) noexcept {
  with_byte_format(p.weight_type, [&](auto format) { multiply_format<decltype(format)>(p, o_begin, o_end); });
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE
