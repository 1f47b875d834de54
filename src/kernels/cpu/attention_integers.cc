// The forward pass of attention in products of pairs of 16-bit integers, of which a processor makes two
// (VNNI) or nearly as many for one of floats. Blocks are laid out as in attention_forward.cc.
#include "kernels/cpu/attention_unit.h"
#include "kernels/cpu/functions.h"
#include "kernels/cpu/pair_product.h"

#if defined(__AVX2__)

namespace beacon::kernels::BEACON_CPU_NAMESPACE {
namespace {

constexpr float kLogOfTwo = 0.693147181F;
// Of a key among those of its block, and of a value: 64 products stay below 2^31.
constexpr float kLargestWeight = 8191;
constexpr float kLargestValue = 4095;

constexpr int64_t kPair = 2;  // 16-bit numbers in a word

struct IntegerHead {
  explicit IntegerHead(const AttentionParams& p)
      : dim(p.head_dim), padded(round_up(p.head_dim, kLanes)), words(padded / kPair) {
    // So many products of the largest number with itself stay below 2^31.
    largest = __builtin_floorf(__builtin_sqrtf(2147483000.0F / static_cast<float>(padded)));
  }
  static constexpr int64_t kKeyWords = kAttentionBlock / kPair;
  int64_t dim;
  int64_t padded;
  int64_t words;
  float largest;  // of the whole numbers that q and k are rounded to
};

// One block of rows and what it has gathered. Scores are to the base of two.
struct IntegerRows : Gathered {
  float* q;        // [words, kAttentionBlock] pairs
  float* q_scale;  // [kAttentionBlock] what makes scores of the sums, the scale of the key apart
  RowShift shift;
};

struct IntegerSpace {
  IntegerSpace(const IntegerHead& head, Parts& parts) {
    const int64_t floats = kAttentionBlock * head.padded;
    for (IntegerRows& rows : states) {
      rows.q = parts.take(kAttentionBlock * head.words);
      rows.out = parts.take(floats);
      for (float** each : {&rows.q_scale, &rows.largest, &rows.total, &rows.shift.plain, &rows.shift.biased})
        *each = parts.take(kAttentionBlock);
    }
    packed = parts.take(floats);
    pairs = parts.take(kAttentionBlock * head.words);
    k = parts.take(kAttentionBlock * head.words);
    v = parts.take(head.padded * IntegerHead::kKeyWords);
    scores = parts.take(kBlockFloats);
    weights = parts.take(IntegerHead::kKeyWords * kAttentionBlock);
    visible = reinterpret_cast<uint8_t*>(parts.take(kBlockFloats / 4));
    for (float** each : {&k_scale, &block_largest, &keep, &gain}) *each = parts.take(kAttentionBlock);
    v_scale = parts.take(head.padded);
  }
  static constexpr float kNats = kLogOfTwo;
  IntegerRows states[kAttentionForwardBlocks];
  float* packed;         // [kAttentionBlock, padded] rows as floats
  float* pairs;          // [kAttentionBlock, words] or [kKeyWords, padded], on the way to another layout
  float* k;              // [kAttentionBlock, words] pairs
  float* k_scale;        // [kAttentionBlock]
  float* v;              // [padded, kKeyWords] pairs of keys
  float* v_scale;        // [padded]
  float* scores;         // [keys, rows]
  float* weights;        // [kKeyWords, rows] pairs of keys
  float* block_largest;  // [kAttentionBlock] largest score of the block
  float* keep;           // [kAttentionBlock] factor of what was gathered before
  float* gain;           // [kAttentionBlock] factor of what the block adds
  uint8_t* visible;      // [keys, rows]
};

BEACON_INLINE VF magnitude(VF x) { return as_float(as_int(x) & 0x7FFFFFFF); }
// Without a sign, so that what comes of NaN may overflow; those show in the scales.
BEACON_INLINE VU to_nearest(VF x) {
#if defined(__AVX512F__)
  return (VU)_mm512_cvtps_epi32((__m512)x);
#else
  return (VU)_mm256_cvtps_epi32((__m256)x);
#endif
}

// 2^x * (1 +- 7.5e-5), least squares reweighted to equal ripples; not below 2^-30.
BEACON_INLINE VF rough_exp2(VF x) {
  x = larger(broadcast(-30.0F), x);
  const VF shifted = x + 12582912.0F;  // rounds to a whole number and leaves it in the low bits
  const VF r = x - (shifted - 12582912.0F);
  VF power = multiply_add(r, broadcast(0x1.c3f76p-5F), broadcast(0x1.f0de1cp-3F));
  power = multiply_add(power, r, broadcast(0x1.62f31ap-1F));
  power = multiply_add(power, r, broadcast(0x1.fff692p-1F));
  return as_float(as_int(power) + (as_int(shifted) << 23));
}

// Row r of `wide`, in pairs at `dst`: each number a whole one times the factor returned. NaN if there is one.
BEACON_INLINE float round_row(const float* wide, const IntegerHead& head, float* dst) {
  VF most_of = {};
  VF nothing = {};
  for (int64_t h = 0; h < head.padded; h += kLanes) {
    const VF x = load(wide + h);
    most_of = larger(magnitude(x), most_of);
    nothing = nothing + x * 0.0F;
  }
  const float most = largest_lane(most_of);
  const VF inverse = broadcast(most > 0 ? head.largest / most : 0);
  auto* out = reinterpret_cast<char*>(dst);
  for (int64_t h = 0; h < head.padded; h += kLanes) {
    const VH numbers = __builtin_convertvector(to_nearest(load(wide + h) * inverse), VH);
    __builtin_memcpy(out + 2 * h, &numbers, sizeof numbers);
  }
  return most / head.largest + sum_lanes(nothing);
}

void widen_rows(const GroupRows& rows, int64_t begin, int64_t end, const IntegerHead& head, float* wide) {
  for (int64_t r = 0; r < kAttentionBlock; ++r) {
    float* out = wide + r * head.padded;
    if (begin + r < end) {
      widen_row(rows.type, rows.at(begin + r), head.dim, head.padded, out);
    } else {
      __builtin_memset(out, 0, static_cast<size_t>(head.padded) * 4);
    }
  }
}

// Gives 0, or NaN where a key is none.
float round_keys(const GroupRows& keys, int64_t begin, int64_t end, const IntegerHead& head,
                 const IntegerSpace& space) {
  float nothing = 0;
  widen_rows(keys, begin, end, head, space.packed);
  for (int64_t j = 0; j < kAttentionBlock; ++j) {
    space.k_scale[j] = round_row(space.packed + j * head.padded, head, space.k + j * head.words);
    nothing += space.k_scale[j] * 0;
  }
  return nothing;
}

// Each dimension of a head has a scale of its own, to which 0 or NaN is added.
void round_values(const GroupRows& values, int64_t begin, int64_t end, const IntegerHead& head,
                  float nothing_of_keys, const IntegerSpace& space) {
  widen_rows(values, begin, end, head, space.packed);
  for (int64_t h = 0; h < head.padded; h += kLanes) {
    const float* column = space.packed + h;
    VF most_of = {};
    VF nothing = broadcast(nothing_of_keys);
    for (int64_t j = 0; j < kAttentionBlock; ++j) {
      const VF x = load(column + j * head.padded);
      most_of = larger(magnitude(x), most_of);
      nothing = nothing + x * 0.0F;
    }
    const VF inverse = select(most_of > 0.0F, kLargestValue / most_of, VF{});
    store(space.v_scale + h, most_of * (1 / kLargestValue) + nothing);
    for (int64_t j = 0; j < kAttentionBlock; j += 2) {
      const VU first = to_nearest(load(column + j * head.padded) * inverse);
      const VU second = to_nearest(load(column + (j + 1) * head.padded) * inverse);
      store(space.pairs + j / 2 * head.padded + h, as_float((first & 0xFFFF) | (second << 16)));
    }
  }
  transpose_block({space.pairs, head.padded}, IntegerHead::kKeyWords, head.padded,
                  {space.v, IntegerHead::kKeyWords});
}

void start_rows(const AttentionParams& p, const IntegerHead& head, int64_t kv_head, int64_t row_begin,
                int64_t row_end, const IntegerSpace& space, const IntegerRows& rows) {
  const int64_t group = p.num_heads / p.num_kv_heads;
  widen_rows(group_rows(p.q, kv_head, group), row_begin, row_end, head, space.packed);
  for (int64_t r = 0; r < kAttentionBlock; ++r) {
    const float factor = round_row(space.packed + r * head.padded, head, space.pairs + r * head.words);
    rows.q_scale[r] = factor * p.scale / kLogOfTwo;
    rows.largest[r] = -kInfinity;
    rows.total[r] = factor * 0;  // NaN, if the row has one
    rows.shift.plain[r] = 0;
    rows.shift.biased[r] =
        p.head_bias == nullptr ? 0 : p.head_bias[kv_head * group + (row_begin + r) % group] / kLogOfTwo;
  }
  transpose_block({space.pairs, head.words}, kAttentionBlock, head.words, {rows.q, kAttentionBlock});
  __builtin_memset(rows.out, 0, static_cast<size_t>(kAttentionBlock * head.padded) * 4);
}

constexpr int kStripVectors = 2;  // of rows
constexpr int64_t kStripRows = kStripVectors * kLanes;

// Sums of kProductRows words of a, broadcast, with kStripVectors vectors of b.
struct Strip {
  VI sums[kProductRows][kStripVectors];

  static BEACON_INLINE Strip of(const float* a, int64_t a_stride, const float* b, int64_t words) {
    Strip strip = {};
    for (int64_t k = 0; k < words; ++k) {
      VI columns[kStripVectors];
      BEACON_UNROLL
      for (int w = 0; w < kStripVectors; ++w) columns[w] = as_int(load(b + k * kAttentionBlock + w * kLanes));
      BEACON_UNROLL
      for (int r = 0; r < kProductRows; ++r) {
        int32_t word = 0;
        __builtin_memcpy(&word, a + r * a_stride + k, sizeof word);
        const VI value = word - VI{};
        BEACON_UNROLL
        for (int w = 0; w < kStripVectors; ++w)
          strip.sums[r][w] = add_pairs(strip.sums[r][w], columns[w], value);
      }
    }
    return strip;
  }
};

void score_block(const IntegerHead& head, const IntegerSpace& space, const IntegerRows& rows) {
  for (int64_t column = 0; column < kAttentionBlock; column += kStripRows) {
    VF largest[kStripVectors], scale[kStripVectors];
    BEACON_UNROLL
    for (int w = 0; w < kStripVectors; ++w) {
      largest[w] = broadcast(-kInfinity);
      scale[w] = load(rows.q_scale + column + w * kLanes);
    }
    for (int64_t j = 0; j < kAttentionBlock; j += kProductRows) {
      const Strip strip = Strip::of(space.k + j * head.words, head.words, rows.q + column, head.words);
      float* scores = space.scores + j * kAttentionBlock + column;
      BEACON_UNROLL
      for (int r = 0; r < kProductRows; ++r) {
        BEACON_UNROLL
        for (int w = 0; w < kStripVectors; ++w) {
          const VF score = to_float(strip.sums[r][w]) * (scale[w] * space.k_scale[j + r]);
          store(scores + r * kAttentionBlock + w * kLanes, score);
          largest[w] = larger(largest[w], score);
        }
      }
    }
    BEACON_UNROLL
    for (int w = 0; w < kStripVectors; ++w) store(space.block_largest + column + w * kLanes, largest[w]);
  }
}

// What the bias adds and the mask hides, and the largest of what is left.
void hide(const AttentionParams& p, const BlockPair& pair, Sight sight, const IntegerSpace& space,
          const IntegerRows& rows) {
  for (int64_t column = 0; column < kAttentionBlock; column += kLanes) {
    VF largest = broadcast(-kInfinity);
    for (int64_t j = 0; j < kAttentionBlock; ++j) {
      float* score = space.scores + j * kAttentionBlock + column;
      VF value = load(score) + load(rows.shift.of(p, pair.key_begin + j) + column);
      if (sight != Sight::kAll)
        value = seen_or(value, broadcast(-kInfinity), space.visible + j * kAttentionBlock + column);
      store(score, value);
      largest = larger(largest, value);
    }
    store(space.block_largest + column, largest);
  }
}

// Scores to weights beside the largest of a row in this block: what is small beside an earlier block's keeps
// its share.
void soften_block(const IntegerSpace& space, const IntegerRows& rows) {
  for (int64_t column = 0; column < kAttentionBlock; column += kLanes) {
    const VF block_largest = load(space.block_largest + column);
    const VF before = load(rows.largest + column);
    const VF largest = larger(before, block_largest);
    // While nothing is visible these are -inf, and differences would be NaN.
    const VF shift = select(largest == -kInfinity, VF{}, largest);
    constexpr float kLogOfLargest = 12.9998239F;
    const VF own_shift = select(block_largest == -kInfinity, VF{}, block_largest) - kLogOfLargest;
    VU sum = {};
    for (int64_t j = 0; j < kAttentionBlock; j += 2) {
      const float* score = space.scores + j * kAttentionBlock + column;
      const VU first = to_nearest(rough_exp2(load(score) - own_shift));
      const VU second = to_nearest(rough_exp2(load(score + kAttentionBlock) - own_shift));
      sum = sum + (first + second);
      store(space.weights + j / 2 * kAttentionBlock + column, as_float(first | (second << 16)));
    }
    const VF keep = exp_nonpositive((before - shift) * kLogOfTwo);
    const VF gain = exp_nonpositive((block_largest - shift) * kLogOfTwo) * (1 / kLargestWeight);
    store(space.keep + column, keep);
    store(space.gain + column, gain);
    store(rows.total + column, load(rows.total + column) * keep + to_float((VI)sum) * gain);
    store(rows.largest + column, largest);
  }
}

void add_values(const IntegerHead& head, const IntegerSpace& space, const IntegerRows& rows) {
  for (int64_t column = 0; column < kAttentionBlock; column += kStripRows) {
    VF keep[kStripVectors], gain[kStripVectors];
    BEACON_UNROLL
    for (int w = 0; w < kStripVectors; ++w) {
      keep[w] = load(space.keep + column + w * kLanes);
      gain[w] = load(space.gain + column + w * kLanes);
    }
    for (int64_t h = 0; h < head.padded; h += kProductRows) {
      const Strip strip = Strip::of(space.v + h * IntegerHead::kKeyWords, IntegerHead::kKeyWords,
                                    space.weights + column, IntegerHead::kKeyWords);
      float* out = rows.out + h * kAttentionBlock + column;
      BEACON_UNROLL
      for (int r = 0; r < kProductRows; ++r) {
        BEACON_UNROLL
        for (int w = 0; w < kStripVectors; ++w) {
          float* at = out + r * kAttentionBlock + w * kLanes;
          store(at,
                multiply_add(to_float(strip.sums[r][w]), gain[w] * space.v_scale[h + r], load(at) * keep[w]));
        }
      }
    }
  }
}

void pack_keys(const AttentionParams& p, const IntegerHead& head, int64_t kv_head, int64_t begin, int64_t end,
               const IntegerSpace& space) {
  const float nothing = round_keys(group_rows(p.k, kv_head, 1), begin, end, head, space);
  round_values(group_rows(p.v, kv_head, 1), begin, end, head, nothing, space);
}

void attend_block(const AttentionParams& p, const IntegerHead& head, const BlockPair& pair, Sight sight,
                  const IntegerSpace& space, const IntegerRows& rows) {
  score_block(head, space, rows);
  if (sight != Sight::kAll || p.head_bias != nullptr) hide(p, pair, sight, space, rows);
  soften_block(space, rows);
  add_values(head, space, rows);
}

}  // namespace

int64_t attention_integers_scratch_floats(const AttentionParams& p) noexcept {
  Parts parts(nullptr);
  const IntegerSpace unused(IntegerHead(p), parts);
  return parts.used();
}

void attention_integers(const AttentionParams& p, int64_t unit_begin, int64_t unit_end,
                        float* scratch) noexcept {
  const IntegerHead head(p);
  Parts parts(scratch);
  const IntegerSpace space(head, parts);
  for (int64_t unit = unit_begin; unit < unit_end; ++unit) forward_unit(p, unit, head, space);
}

}  // namespace beacon::kernels::BEACON_CPU_NAMESPACE

#endif
